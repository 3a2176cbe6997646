"""Count the parts of an encoded photo that cost time or memory to decode, before it is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator


def count_jpeg_scans(data: bytes, most: int) -> int:
    """Count the scans of a JPEG up to its end; parse it only where more than `most` markers are inside."""
    scans = data.count(b"\xff\xda")  # those of thumbnails and films that are embedded too
    if scans <= most:
        return scans
    scans, place = 0, 2
    while marker := _MARKER.search(data, place):
        kind = marker[0][1]
        if kind == 0xD9:
            break
        scans += kind == 0xDA
        place = marker.end() if kind in (0x01, 0xD8) else marker.end() + _length(data, marker.end())
    return scans


_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""A marker of a JPEG, except those that restart within a scan."""


def count_tiff_pieces(data: bytes) -> int:
    """Count the strips and tiles of a TIFF's first directory, as far as the file could hold them.

    Returns 0 for other formats.
    """
    if data[:2] not in (b"II", b"MM"):
        return 0
    try:
        return sum(count for tag, count in _directory(data) if tag in (273, 324) and count <= len(data) // 2)
    except struct.error:  # Pillow says what is wrong
        return 0


def _directory(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield tag and count of every entry of a TIFF's first directory; raises struct.error without one."""
    big = 43 in (data[2], data[3])
    order, number, size = ("<" if data[:2] == b"II" else ">"), ("Q" if big else "I"), (20 if big else 12)
    (start,) = struct.unpack_from(order + number, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    start += 8 if big else 2
    for place in range(start, min(start + size * entries, len(data) - size), size):
        tag, _kind, count = struct.unpack_from(order + "HH" + number, data, place)
        yield tag, count


def _length(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 2], "big")
