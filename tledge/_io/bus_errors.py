"""Print a message where a file that is mapped into memory cannot be read, which ends the process (SIGBUS).

That is how the system reports a disk that fails, a disk that is full, or a file that another process cut
short: no call returns an error, because none was made.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from tledge.errors import TledgeError

_HANDLERS: list[Any] = []
"""The handler that C calls; it must not be garbage."""


def explain_bus_errors() -> None:
    """From now on, print what happened on stderr and exit with 1; keep a handler that is there already.

    It is set in C, because Python's own handlers run only after native code returns, and here it does not.
    """
    if _HANDLERS or not hasattr(signal, "SIGBUS"):
        return
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(_explain)
    _HANDLERS.append(handler)
    if previous := set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p)):
        set_handler(signal.SIGBUS, previous)


def _explain(_signal: int) -> None:
    print(f"\ntledge: {MESSAGE}", file=sys.stderr, flush=True)
    os._exit(TledgeError.exit_code)


MESSAGE = (
    "a file that is mapped into memory could not be read or written: its disk failed or is full, or another "
    "process cut the file short. Check the disk of the prepared images (TLEDGE_CACHE; dmesg tells more), "
    "remove a damaged cache folder, then run the command again; tledge train resumes with --resume."
)
