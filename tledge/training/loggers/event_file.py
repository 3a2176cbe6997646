"""Write TensorBoard's event files without TensorBoard or TensorFlow, so that any backend has them.

An event file is a TFRecord file: every record is its length (uint64, little-endian), a checksum, the
content, and the content's checksum. The content is an `Event` of TensorFlow's event.proto; the few
fields in use are encoded here by hand. The bytes depend on the arguments alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from tledge._io import atomic

NAME = "events.out.tfevents.tledge"
"""TensorBoard reads the files of a folder whose names contain "tfevents"."""

VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5
"""Wire types of Protocol Buffers."""

RGB = 3
"""`colorspace` of an image, as TensorFlow counts channels."""


def write(path: Path, events: Iterable[bytes]) -> None:
    """Write an event file of these events atomically."""
    with atomic.replacing(path) as unfinished:
        unfinished.write_bytes(b"".join(map(_record, (_version(), *events))))


def append(path: Path, events: Iterable[bytes]) -> None:
    """Add events to a file that a TensorBoard may be reading."""
    with path.open("ab") as file:
        file.write(b"".join(map(_record, events)))


def scalars(step: int, seconds: float, values: Mapping[str, float]) -> bytes:
    """Return an event with figures by tag, `seconds` after the beginning."""
    summaries = (_text(1, tag) + _field(2, FLOAT, struct.pack("<f", value)) for tag, value in values.items())
    return _event(
        step, seconds, _field(5, BYTES, b"".join(_field(1, BYTES, summary) for summary in summaries))
    )


def image(step: int, seconds: float, tag: str, png: bytes) -> bytes:
    """Return an event with an image, an encoded PNG."""
    width, height = struct.unpack(">II", png[16:24])  # in its first chunk
    sides = _number(1, height) + _number(2, width) + _number(3, RGB)
    value = _text(1, tag) + _field(4, BYTES, sides + _field(4, BYTES, png))
    return _event(step, seconds, _field(5, BYTES, _field(1, BYTES, value)))


def graph(content: bytes) -> bytes:
    """Return an event with a serialized TensorFlow `GraphDef`."""
    return _event(0, 0.0, _field(4, BYTES, content))


def _version() -> bytes:
    return _event(0, 0.0, _text(3, "brain.Event:2"))


def _event(step: int, seconds: float, content: bytes) -> bytes:
    return _field(1, DOUBLE, struct.pack("<d", seconds)) + _number(2, step) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, BYTES, text.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(value)


def _field(number: int, wire: int, content: bytes) -> bytes:
    length = _varint(len(content)) if wire == BYTES else b""
    return _varint(number << 3 | wire) + length + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(data: bytes) -> bytes:
    """Return the CRC-32C of data, masked as TFRecord asks for data that holds checksums itself."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> list[int]:
    """Return the CRC-32C (Castagnoli, reflected polynomial 82F63B78) of every byte."""
    checksums = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901
        checksums.append(byte)
    return checksums
