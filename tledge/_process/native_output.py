"""Last words where native code aborts the process: C++ that finds no memory, a runtime that gives up."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tledge.errors import TledgeError


@contextmanager
def explained(words: Callable[[], str]) -> Iterator[None]:
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
