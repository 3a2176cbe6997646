"""Print a message where a file that is mapped into memory cannot be read, which ends the process (SIGBUS).

That is how the system reports a disk that fails, a disk that is full, or a file that another process cut
short: no call returns an error, because none was made.
"""

from __future__ import annotations

import signal
from typing import Any

from tledge._io import native_signals

_HANDLERS: list[Any] = []
"""The handler that C calls; it must not be garbage."""


def explain_bus_errors() -> None:
    """From now on, print what happened on stderr and exit with 1; keep a handler that is there already."""
    if _HANDLERS or not hasattr(signal, "SIGBUS"):
        return
    _HANDLERS.append(native_signals.exiting_handler(lambda: MESSAGE))
    if previous := native_signals.set_handler(signal.SIGBUS, _HANDLERS[0]):
        native_signals.set_handler(signal.SIGBUS, previous)


MESSAGE = (
    "a file that is mapped into memory could not be read or written: its disk failed or is full, or another "
    "process cut the file short. Check the disk of the prepared images (TLEDGE_CACHE; dmesg tells more), "
    "remove a damaged cache folder, then run the command again; tledge train resumes with --resume."
)
