"""Start processes that end together with tledge, and leave Ctrl-C to it.

Otherwise a process whose parent was killed would continue, and write into a folder that a later command uses.
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

from tledge._io.resource_errors import MEMORY_TEXT, MORE_MEMORY
from tledge.errors import ArtifactError

PARENT = "TLEDGE_STARTER"
"""Environment variable with the ID of the process that started this one."""

POLL = 0.2
"""Seconds between two checks of the parent, where the system does not report its end."""

SET_DEATH_SIGNAL = 1
"""Linux' prctl option PR_SET_PDEATHSIG."""


def child_environment() -> dict[str, str]:
    """Return the environment for a process that calls `end_with_parent`.

    Warnings of libraries are no errors there: PYTHONWARNINGS is meant for the user's own programs.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return {**kept, PARENT: str(os.getpid())}


def end_with_parent(*, by_thread: bool = True) -> None:
    """From now on, end this process as soon as the process that started it ends for whatever reason.

    On Linux the thread that started it counts, because the kernel is asked; `by_thread` false asks how the
    process itself does, a few times a second.
    """
    parent = os.environ.get(PARENT)
    if parent is None or sys.platform == "win32":  # Windows does not show the end of a parent like this
        return
    if not (by_thread and _ends_by_kernel()):
        threading.Thread(target=_end_after, args=(int(parent),), daemon=True).start()
    elif os.getppid() != int(parent):  # it ended before the kernel was asked
        os._exit(1)


def _ends_by_kernel() -> bool:
    """Ask Linux to kill this process when the thread that started it ends; False on other systems."""
    if sys.platform != "linux":
        return False
    import ctypes

    error_code: int = ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    return error_code == 0


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Start processes in this block that ignore Ctrl-C, which a terminal sends to every process."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_STACK_FRAME = re.compile(r"\s*(@ +0x|\*{3} Check failure|#\d+ )")
"""A line of a native stack trace, which does not help a user."""


LAST_LINES = 4
"""Number of last lines shown of a process that failed."""


TIMEOUT = 600.0
"""Seconds after which a process is stopped that usually takes a few."""


def describe_exit(code: int, output: str) -> str:
    """Say how a process failed, by its exit code and the last lines of its output.

    `code` is negative after a signal, as in `subprocess`.
    """
    last = [line for line in output.strip().splitlines() if not _STACK_FRAME.match(line)][-LAST_LINES:]
    if code == -9:
        ending = f"was killed (SIGKILL), usually because memory ran out. {MORE_MEMORY}."
    elif MEMORY_TEXT.search("\n".join(last)):
        ending = f"ran out of memory ({_code(code)}). {MORE_MEMORY}."
    else:
        ending = f"{'crashed' if code < 0 else 'failed'} ({_code(code)})."
    if not last:
        return ending
    return (
        f"{ending} Its last output: {last[0]}"
        if len(last) == 1
        else "\n".join((f"{ending} Its last output:", *last))
    )


def run_with_timeout(command: Sequence[str], what: str, timeout: float = TIMEOUT) -> CompletedProcess[str]:
    """Run a process; raise ArtifactError, which names `what`, if it takes more than `timeout` seconds."""
    try:
        return run(
            command, stdin=DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=timeout,
        )  # fmt: skip
    except TimeoutExpired as error:
        raise ArtifactError(f"{what} took more than {timeout:g} s and was stopped.") from error


def _code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else _signal(-code)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def worker_command(module: str, *arguments: object) -> list[str]:
    """Return the command that runs `tledge.<module>`.

    With -P nothing is imported from the current folder: that may be a downloaded bundle, and a `numpy.py`
    in it would be run.
    """
    return [sys.executable, "-P", "-m", f"tledge.{module}", *map(str, arguments)]
