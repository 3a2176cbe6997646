"""Files that are filled piece by piece, and how a killed command goes on with prepared photos.

`images.npy` gets the pixels, behind a place for its header, and `rows.jsonl` a line per photo. Where
photos are streamed there are no pixels to keep, and `pixels` is None.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tledge._io import resource_errors
from tledge.data.cache_index import HEADER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike


def flush(pixels: IO[bytes] | None, lines: IO[bytes], waiting: list[bytes]) -> None:
    """Pixels first: a line that stands means that its pixels do."""
    if pixels:
        pixels.flush()
        os.fsync(pixels.fileno())
    lines.writelines(waiting)
    lines.flush()
    waiting.clear()


def go_on(pixels: IO[bytes] | None, lines: IO[bytes], each: int) -> tuple[int, Counter[tuple[str, str]]]:
    """Cut both files back to the last whole photo; gives photos done and originals kept of each place."""
    lines.seek(0)
    images_left = _whole_images(pixels, each) if pixels else sys.maxsize
    done = images = end = 0
    kept: Counter[tuple[str, str]] = Counter()
    for line in lines:
        row = _entry(line)
        if row is None or images + ("skipped" not in row) > images_left:
            break
        done, images, end = done + 1, images + ("skipped" not in row), end + len(line)
        kept[row.get("split", ""), row.get("label", "")] += bool(row.get("original"))
    lines.truncate(end)
    lines.seek(end)
    if pixels:
        pixels.truncate(HEADER + each * images)
        pixels.seek(0, os.SEEK_END)
    return done, +kept


def _whole_images(pixels: IO[bytes], each: int) -> int:
    """Images behind the header, for which place is made where it is not there."""
    if pixels.tell() < HEADER:
        pixels.write(bytes(HEADER - pixels.tell()))
    return (pixels.tell() - HEADER) // each


def _entry(line: bytes) -> dict[str, str] | None:
    """A line of `rows.jsonl`; None where a kill or a power failure left no whole one."""
    try:
        row: dict[str, str] = json.loads(line)
    except ValueError:
        return None
    return row if line.endswith(b"\n") else None


def entries(folder: Path) -> Iterator[dict[str, str]]:
    """Every line of `rows.jsonl`: the facts of a photo, or why it is `skipped`."""
    with (folder / "rows.jsonl").open("rb") as lines:
        yield from map(json.loads, lines)


def npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of an `.npy` file of uint8 (format 1.0), padded to the place kept for it."""
    facts = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text = facts.ljust(HEADER - 11).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new `.npy` of zeros, memory-mapped to be filled, whose place on the disk is already taken.

    Where a disk is full under a mapped file, the system ends the process (SIGBUS); here an OSError says so.
    """
    import numpy as np

    made = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # not on Windows and macOS
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if resource_errors.is_full(error):
                    raise
    return made
