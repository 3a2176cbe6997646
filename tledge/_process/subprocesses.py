"""Processes that tledge starts: they end with it, and leave Ctrl-C to it.

A process whose starter was killed would go on, and write into a folder that a later command works on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STARTER = "TLEDGE_STARTER"
"""Environment variable with the number of the process that started this one."""

POLL = 0.2
"""Seconds between two looks for the starter, where the system does not tell of its end."""

SET_DEATH_SIGNAL = 1
"""Linux' prctl option PR_SET_PDEATHSIG."""


def environment() -> dict[str, str]:
    """The environment of a process that calls `end_with_starter`."""
    return {**os.environ, STARTER: str(os.getpid())}


def end_with_starter() -> None:
    """From now on, end this process at once when the one that started it ends, however that ends."""
    starter = os.environ.get(STARTER)
    if starter is None or sys.platform == "win32":  # where a starter's end cannot be seen like this
        return
    if not _told_by_kernel():
        threading.Thread(target=_watch, args=(int(starter),), daemon=True).start()
    elif os.getppid() != int(starter):  # it ended before the kernel was asked
        os._exit(1)


def _told_by_kernel() -> bool:
    """Ask Linux for SIGKILL when the thread that started this process ends; False elsewhere."""
    if sys.platform != "linux":
        return False
    import ctypes

    asked: int = ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    return asked == 0


def _watch(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(POLL)
    os._exit(1)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """A process started in this block never sees Ctrl-C, which a terminal sends to all of them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
