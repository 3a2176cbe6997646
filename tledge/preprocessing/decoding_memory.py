"""Limit the memory that the photos which are decoded at a time take together, however many threads decode.

A file of a few KiB may decode to a hundred megapixels. So what counts is the number of pixels, which is known
before a photo is decoded, and not the number of threads or the size of files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import cast

from tledge._process.byte_budget import ByteBudget

LEAST_TOTAL = 512 << 20
"""Bytes that photos may take together on any machine: three photos of 16 megapixels, or one larger one."""

TOTAL_PER_CORE = 128 << 20
"""Bytes for each core: with a photo of 12 megapixels each, no core waits."""

BYTES_PER_PIXEL = {"WEBP": 16, "HEIF": 16, "AVIF": 10}
"""Most bytes that a pixel takes while it is decoded, turned, blended and resized, where it is more than
`USUAL`. A decoder with pixels of its own, from which Pillow copies, takes most. Measured for each format."""

USUAL = 9
"""Bytes for a pixel of the other formats; a plain JPEG or PNG takes 4, one that is turned 8."""

ARRAY = 7
"""Further bytes for a pixel where the photo is needed in full: the array, and a copy that Pillow makes."""

SMALL = 1_000_000
"""Photos of at most so many pixels do not count where freed memory is returned to the system."""

_this_thread = threading.local()


@contextmanager
def reserved(pixels: int, image_format: str = "", *, in_full: bool = False) -> Iterator[None]:
    """Wait until a photo of so many pixels may be decoded, and keep its memory reserved for the block.

    A photo that takes more than there is in all is decoded alone. A thread that has reserved memory already
    gets no more and never waits, because two that wait for each other would wait for ever.
    """
    if getattr(_this_thread, "has_reserved", False):
        yield
        return
    budget = _budget()
    size = min(pixels * (BYTES_PER_PIXEL.get(image_format, USUAL) + in_full * ARRAY), budget.total)
    with budget.reserve(size):
        _this_thread.has_reserved = True
        try:
            yield
        finally:
            _this_thread.has_reserved = False
            if pixels > SMALL:
                _freed.add(size, budget.total)


class _Freed:
    """Return freed memory to the system now and then.

    glibc keeps for each thread up to 64 MB that photos took, which other threads cannot use.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, size: int, most: int) -> None:
        """Count the bytes of a photo; return what is free where it may be more than `most`."""
        with self._lock:
            self._bytes += size
            if self._bytes < most:
                return
            self._bytes = 0
        if trim := _malloc_trim():
            trim(0)


_freed = _Freed()


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    import ctypes

    try:
        return cast("Callable[[int], int]", ctypes.CDLL(None).malloc_trim)
    except (AttributeError, OSError, TypeError):  # another C library, which keeps less, or Windows
        return None


@cache
def _budget() -> ByteBudget:
    return ByteBudget(total_bytes())


def total_bytes() -> int:
    """Return the bytes that photos may take together here: by cores, but at most a quarter of the memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(LEAST_TOTAL, min(cores * TOTAL_PER_CORE, _memory() // 4))


def _memory() -> int:
    """Return the bytes of memory of this machine; where the system does not tell, what 16 cores may take."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 64 * TOTAL_PER_CORE
