"""Silence native libraries, and print a message where native code aborts the process.

Native libraries print to stderr before log settings apply; C++ aborts where it finds no memory.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from tledge._io import native_signals


@contextmanager
def exit_message_on_abort(message: Callable[[], str]) -> Iterator[None]:
    """Print `message()` on stderr and exit with 1 where native code aborts the process in a block.

    On Windows, which has no such handlers, the block runs unchanged.
    """
    if os.name == "nt":
        yield
        return

    handler = native_signals.exiting_handler(message)
    previous = native_signals.set_handler(signal.SIGABRT, handler)
    try:
        yield
    finally:
        native_signals.set_handler(signal.SIGABRT, previous)


class _Stderr:
    """Counts the threads that need the process' stderr closed, and reopens it after the last of them."""

    def __init__(self) -> None:
        self._lock, self._holders, self._original = threading.Lock(), 0, -1

    def close(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders > 1:
                return
            sys.stderr.flush()
            self._original = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)

    def open(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                os.dup2(self._original, 2)
                os.close(self._original)


_STDERR = _Stderr()


@contextmanager
def native_stderr_closed() -> Iterator[None]:
    """Close the process' stderr for a block, in any thread; Python exceptions are raised as usual."""
    _STDERR.close()
    try:
        yield
    finally:
        _STDERR.open()


_announced = [True]
"""The last entry: whether downloads of libraries are announced on stderr."""


@contextmanager
def downloads_announced(shown: bool) -> Iterator[None]:
    """Announce downloads of libraries on stderr in a block, or not at all, in every thread."""
    _announced.append(shown)
    try:
        yield
    finally:
        _announced.pop()


@contextmanager
def announcements_redirected() -> Iterator[None]:
    """Move what a library prints on stdout, which is for results, to where downloads are announced."""
    shown = _announced[-1]
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(sys.stderr if shown else nowhere),
    ):
        yield


@contextmanager
def native_output_closed() -> Iterator[None]:
    """Discard what native code writes to stdout and stderr in a block; Python's own output still appears."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    originals = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(null, number)
        sys.stdout, sys.stderr = (
            open(os.dup(original), "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
            for original in originals
        )
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.close()
        sys.stdout, sys.stderr = streams
        for number, original in zip((1, 2), originals, strict=True):
            os.dup2(original, number)
            os.close(original)
        os.close(null)
