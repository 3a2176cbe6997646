"""Limit the memory that the photos which are decoded at a time take together, however many threads decode.

A file of a few KiB may decode to a hundred megapixels. So what counts is the number of pixels, which is known
before a photo is decoded, and not the number of threads or the size of files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from tledge._process import processors
from tledge._process.byte_budget import ByteBudget

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

LEAST_TOTAL = 512 << 20
"""Bytes that photos may take together on any machine: three photos of 16 megapixels, or one larger one."""

TOTAL_PER_CORE = 128 << 20
"""Bytes for each core: with a photo of 12 megapixels each, no core waits."""

BYTES_PER_PIXEL = {"WEBP": 16, "HEIF": 16, "AVIF": 10, "JPEG2000": 28, "PPM in Python": 40}
"""Most bytes that a pixel takes while it is decoded, turned, blended and resized, where it is more than
`USUAL`. A decoder with pixels of its own, from which Pillow copies, takes most. Measured for each format."""

USUAL = 9
"""Bytes for a pixel of the other formats; a plain JPEG or PNG takes 4, one that is turned 8."""

ARRAY = 7
"""Further bytes for a pixel where the photo is needed in full: the array, and a copy that Pillow makes."""

SMALL = 1_000_000
"""Photos of at most so many pixels are decoded in the thread that asks for it."""

T = TypeVar("T")

_this_thread = threading.local()


def run(work: Callable[[], T], pixels: int, image_format: str = "", *, in_full: bool = False) -> T:
    """Return what `work` returns, which decodes a photo of so many pixels, once there is memory for it.

    A photo that takes more than there is in all is decoded alone. Large photos are decoded in a few threads
    that all callers share: the C library keeps up to 64 MB of what each thread has freed. Within `work`, what
    is decoded in the same thread needs no further memory and never waits, because two that wait for each
    other would wait for ever.
    """
    if getattr(_this_thread, "has_memory", False):
        return work()
    size = pixels * (BYTES_PER_PIXEL.get(image_format, USUAL) + in_full * ARRAY)
    if pixels <= SMALL:
        return _run_with_memory(work, size)
    return _in_shared_thread(lambda: _run_with_memory(work, size))


def _in_shared_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns in one of the shared threads; here where none can be started."""
    from concurrent.futures import Future

    outcome: Future[T] = Future()

    def do() -> None:
        if outcome.set_running_or_notify_cancel():
            try:
                outcome.set_result(work())
            except BaseException as error:
                outcome.set_exception(error)

    try:
        _threads().submit(do)
    except RuntimeError:  # too many threads, or Python is about to end
        if outcome.cancel():  # no thread has begun with it all the same
            return work()
    return outcome.result()


def _run_with_memory(work: Callable[[], T], size: int) -> T:
    budget = _budget()
    with budget.reserve(min(size, budget.total)):
        _this_thread.has_memory = True
        try:
            return work()
        finally:
            _this_thread.has_memory = False


@cache
def _threads() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(processors.usable(), "decode-large")


def _forget() -> None:
    """Make new threads, and a new budget, in a process that was forked: it has none of the old threads."""
    _threads.cache_clear()
    _budget.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@cache
def _budget() -> ByteBudget:
    return ByteBudget(total_bytes())


def total_bytes() -> int:
    """Return the bytes that photos may take together here: by cores, but at most a quarter of the memory."""
    return max(LEAST_TOTAL, min(processors.usable() * TOTAL_PER_CORE, _memory() // 4))


def _memory() -> int:
    """Return the bytes of memory of this machine; where the system does not tell, what 16 cores may take."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 64 * TOTAL_PER_CORE
