"""Last words where native code aborts the process: C++ that finds no memory, a runtime that gives up."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tledge.errors import TledgeError


@contextmanager
def exit_message_on_abort(words: Callable[[], str]) -> Iterator[None]:
    """Where the process is aborted in a block, say `words()` on stderr, and exit with 1.

    The signal's handler is set in C, since Python's own runs only when native code comes back. On
    Windows, where it would be set otherwise, the block runs as it is.
    """
    if os.name == "nt":
        yield
        return

    def explain(_signal: int) -> None:
        print(f"\ntledge: {words()}", file=sys.stderr, flush=True)
        os._exit(TledgeError.exit_code)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(explain)
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    before = set_handler(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGABRT, before)


class _Stderr:
    """Threads that want the process' stderr closed, and where it goes again after the last of them."""

    def __init__(self) -> None:
        self._lock, self._holders, self._kept = threading.Lock(), 0, -1

    def close(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders > 1:
                return
            sys.stderr.flush()
            self._kept = os.dup(2)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 2)
            os.close(sink)

    def open(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                os.dup2(self._kept, 2)
                os.close(self._kept)


_STDERR = _Stderr()


@contextmanager
def native_stderr_closed() -> Iterator[None]:
    """Close off the process' stderr for a block, in any thread; Python exceptions pass as ever."""
    _STDERR.close()
    try:
        yield
    finally:
        _STDERR.open()


@contextmanager
def native_output_closed() -> Iterator[None]:
    """Close off what native code writes to stdout and stderr for a block; Python's own still appears."""
    before = sys.stdout, sys.stderr
    for stream in before:
        stream.flush()
    kept = os.dup(1), os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(sink, number)
        sys.stdout, sys.stderr = (
            open(os.dup(one), "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
            for one in kept
        )
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.close()
        sys.stdout, sys.stderr = before
        for number, one in zip((1, 2), kept, strict=True):
            os.dup2(one, number)
            os.close(one)
        os.close(sink)
