"""TensorBoard's event files: their bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.helpers.event_logs import contents
from tledge.training.loggers import event_file


def test_checksum_is_crc_32c() -> None:
    """The check value of CRC-32C, E3069283 of the digits 1 to 9, masked as TFRecord says."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert event_file._checksum(b"123456789") == struct.pack("<I", masked)


@pytest.mark.parametrize(("value", "wanted"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02")])
def test_varint_is_protobufs(value: int, wanted: str) -> None:
    assert event_file._varint(value).hex() == wanted


def test_file_begins_with_its_version(tmp_path: Path) -> None:
    event_file.write(tmp_path / "a", [event_file.scalars(1, 2.0, {"loss": 0.5})])
    first, second = contents(tmp_path / "a")
    assert b"brain.Event:2" in first and b"loss" in second
