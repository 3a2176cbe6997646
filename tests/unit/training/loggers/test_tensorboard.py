"""TensorBoard's files: their bytes, and that they grow with a training."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.helpers.event_logs import HISTORY
from tledge.run.folder import RunFolder
from tledge.training.loggers import event_file, tensorboard


def contents(path: Path) -> list[bytes]:
    """The records of a file; lengths and checksums are those of the format."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        assert data[8:12] == event_file._checksum(data[:8])
        assert data[12 + length : 16 + length] == event_file._checksum(found[-1])
        data = data[16 + length :]
    return found


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


def test_scalars_grow_by_a_row(tmp_path: Path) -> None:
    """What stands there is left as it is, since a TensorBoard may be reading."""
    log, folder = tensorboard.ScalarLogger(RunFolder(tmp_path)), tmp_path / "tensorboard" / "train"
    for count in (1, 2, 3):
        before = (folder / event_file.NAME).stat().st_ino if folder.exists() else None
        log(HISTORY[:count])
        assert before in (None, (folder / event_file.NAME).stat().st_ino)
        assert len(contents(folder / event_file.NAME)) == 1 + count
    grown = (folder / event_file.NAME).read_bytes()
    tensorboard.ScalarLogger(RunFolder(tmp_path))(HISTORY)
    assert (folder / event_file.NAME).read_bytes() == grown


def test_scalars_begin_again_with_their_stage(tmp_path: Path) -> None:
    """After --resume, and where a stage begins again in smaller pieces, no epoch is there twice."""
    log, path = (
        tensorboard.ScalarLogger(RunFolder(tmp_path)),
        tmp_path / "tensorboard/validation" / event_file.NAME,
    )
    for rows in (HISTORY[:1], HISTORY, HISTORY[:2]):
        log(rows)
        assert len(contents(path)) == 1 + len(rows)
    path.write_bytes(path.read_bytes()[:-5])  # killed while writing
    tensorboard.ScalarLogger(RunFolder(tmp_path))(HISTORY)
    assert len(contents(path)) == 4
