"""Find where records lie in a TFRecord file, so that a photo can be read without those before it.

A record is its length (uint64, little-endian), a checksum of 4 bytes, the content and another
checksum (TensorFlow's documentation of TFRecord). A photo lies unchanged inside its record.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from pathlib import Path

from tledge.errors import DataError

BEFORE, AFTER = 12, 4
"""Bytes of a record in front of its content and behind it."""


@lru_cache(maxsize=8)
def starts(path: Path) -> array[int]:
    """Return the offset of every record's content, and one more for a record at the file's end."""
    offsets = array("q", [BEFORE])
    with path.open("rb") as file:
        while len(header := file.read(BEFORE)) == BEFORE:
            offsets.append(file.seek(int.from_bytes(header[:8], "little") + AFTER, 1) + BEFORE)
    return offsets


def find(path: Path, number: int, photo: bytes) -> int:
    """Find the offset of a photo's first byte in the file; raises DataError where the record has none."""
    places = starts(path)
    begin, end = places[number], places[number + 1] - BEFORE - AFTER
    place = read(path, begin, end - begin).find(photo)
    if place < 0:
        raise DataError(f"{path}, record {number}: its photo is not where it should be.")
    return begin + place


def read(path: Path, offset: int, size: int) -> bytes:
    """Read bytes of a file from an offset on."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
