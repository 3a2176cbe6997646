"""Flatbuffer tables by field number: what is written is read again, and no offset is trusted."""

from __future__ import annotations

import struct

import pytest

from tledge.errors import ArtifactError
from tledge.formats.flatbuffer_tables import ABSENT, NewTable, Table, UInt8, UInt32, root_table, write_value

flatbuffers = pytest.importorskip("flatbuffers")

FIELDS: NewTable = {
    0: "Ähre",
    1: UInt8(7),
    2: UInt32(1 << 20),
    3: [1.5, -2.0],
    5: b"\0\1\2",
    6: {0: "inner"},
    7: [{0: "first"}, {1: UInt8(2)}],
}


def built(fields: NewTable) -> bytes:
    builder = flatbuffers.Builder(64)
    builder.Finish(write_value(builder, fields), b"TEST")
    return bytes(builder.Output())


def read(data: bytes) -> Table:
    return root_table(data, b"TEST", "test")


def test_what_is_written_is_read() -> None:
    root = read(built(FIELDS))
    assert (root.text(0), root.number(1, "B"), root.number(2, "I")) == ("Ähre", 7, 1 << 20)
    assert (root.numbers(3, "f"), root.raw(5)) == ([1.5, -2.0], b"\0\1\2")
    assert root.table(6, "inner").text(0) == "inner"
    first, second = root.tables(7, "list")
    assert (first.text(0), second.number(1, "B")) == ("first", 2)
    assert second.path == "test.list[1]"


def test_fields_that_are_left_out_are_empty() -> None:
    for table in (read(built(FIELDS)).table(4, "none"), read(built({})), ABSENT):
        assert (table.text(9), table.number(9, "B"), table.numbers(9, "f")) == ("", 0, [])
        assert (table.raw(9), table.tables(9, "none"), table.position_of(9)) == (b"", [], 0)


def test_bytes_are_aligned_to_16() -> None:
    data = built({0: "a", 1: b"weights"})
    assert data.index(b"weights") % 16 == 0


def test_offset_outside_the_data_is_named() -> None:
    data = bytearray(built({0: "text"}))
    position = read(bytes(data)).position_of(0)
    struct.pack_into("<I", data, position, 1 << 30)
    with pytest.raises(ArtifactError, match=r"damaged TFLite file: test leads to byte \d{10}, outside its"):
        read(bytes(data)).text(0)


def test_text_that_is_not_utf8_is_named() -> None:
    data = built({0: "text"}).replace(b"text", b"te\xfft")
    with pytest.raises(ArtifactError, match=r"test, field 0 at byte \d+, is not UTF-8"):
        read(data).text(0)


def test_another_identifier_is_refused() -> None:
    with pytest.raises(ArtifactError, match="not a TFLite model: bytes 4 to 8 are b'TEST', not b'TFL3'"):
        root_table(built({}), b"TFL3", "model")
