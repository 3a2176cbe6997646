"""Handle signals that native code raises.

The handlers are set in C, because Python's own run only after native code returns, and here it does not.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

from tledge._io.encoding import printable
from tledge.errors import TledgeError


def exiting_handler(message: Callable[[], str]) -> Any:
    """Return a handler that prints `message()` on stderr and exits with 1; keep it as long as it is set."""

    def explain(_signal: int) -> None:
        print(f"\ntledge: {printable(message())}", file=sys.stderr, flush=True)
        os._exit(TledgeError.exit_code)

    return ctypes.CFUNCTYPE(None, ctypes.c_int)(explain)


def set_handler(number: int, handler: Any) -> Any:
    """Set what `exiting_handler`, or this function, returned; return the handler before, None for none."""
    set_in_c = ctypes.CDLL(None).signal
    set_in_c.restype, set_in_c.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    return set_in_c(number, ctypes.cast(handler, ctypes.c_void_p))
