"""Processes that tledge starts: they end with it, and leave Ctrl-C to it.

A process whose starter was killed would go on, and write into a folder that a later command works on.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import DEVNULL, CompletedProcess, TimeoutExpired, run

from tledge._io.resource_errors import LESS, MEMORY_TEXT
from tledge.errors import ArtifactError

STARTER = "TLEDGE_STARTER"
"""Environment variable with the number of the process that started this one."""

POLL = 0.2
"""Seconds between two looks for the starter, where the system does not tell of its end."""

SET_DEATH_SIGNAL = 1
"""Linux' prctl option PR_SET_PDEATHSIG."""


def child_environment() -> dict[str, str]:
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
def ignore_interrupts() -> Iterator[None]:
    """A process started in this block never sees Ctrl-C, which a terminal sends to all of them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_FRAME = re.compile(r"\s*(@ +0x|\*{3} Check failure|#\d+ )")
"""A line of a native stack trace, which says nothing to its reader."""


TAIL = 4
"""Last lines of a process that ended badly which are shown."""


PATIENCE = 600.0
"""Seconds that a process may take which usually takes a few."""


def describe_exit(code: int, said: str) -> str:
    """How a process ended that should not have, by its exit code, and its last lines.

    `code` is negative after a signal, as `subprocess` has it.
    """
    last = [line for line in said.strip().splitlines() if not _FRAME.match(line)][-TAIL:]
    if code == -9:
        how = f"was killed (SIGKILL), often for want of memory. {LESS}."
    elif MEMORY_TEXT.search("\n".join(last)):
        how = f"ran out of memory ({_code(code)}). {LESS}."
    else:
        how = f"{'crashed' if code < 0 else 'failed'} ({_code(code)})."
    return how + ("" if not last else f" Its last words: {last[0]}" if len(last) == 1 else
                  " Its last words:\n" + "\n".join(last))  # fmt: skip


def run_with_timeout(command: Sequence[str], what: str, patience: float = PATIENCE) -> CompletedProcess[str]:
    """Run a process for at most `patience` seconds; raises ArtifactError, naming `what`, after these."""
    try:
        return run(
            command, stdin=DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=patience,
        )  # fmt: skip
    except TimeoutExpired as error:
        raise ArtifactError(f"{what} took more than {patience:g} s and was stopped.") from error


def _code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else _signal(-code)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def worker_command(module: str, *arguments: object) -> list[str]:
    """The command line that runs `tledge.<module>`.

    With -P nothing is imported from the folder one happens to be in: that may be a stranger's bundle,
    and a `numpy.py` in it would run.
    """
    return [sys.executable, "-P", "-m", f"tledge.{module}", *map(str, arguments)]
