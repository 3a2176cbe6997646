"""Find the processes that a tledge command starts by what they run, and signal them while they work."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torture.support import background

MARK = "TLEDGE_TORTURE_CASE"
"""In the environment of a command and of all that it starts, so that no other's are hit."""


@contextmanager
def signal_process(module: str, with_signal: int, mark: str, after: float = 0.0) -> Iterator[list[int]]:
    """Send a signal to the first process of `mark` that runs `module`, `after` seconds it was seen.

    Gives the list that its number is put into.
    """
    hit_processes = list[int]()

    def progress(stopped: threading.Event) -> None:
        while not stopped.is_set() and not hit_processes:
            for process in marked_processes(mark, module):
                time.sleep(after)
                try:
                    os.kill(process, with_signal)
                except ProcessLookupError:
                    continue
                hit_processes.append(process)
                break
            time.sleep(0.01)

    with background.working(progress):
        yield hit_processes


def marked_processes(mark: str, module: str = "") -> list[int]:
    """List processes whose environment has `mark` and that run `module`; any of them without one."""
    return [
        int(process.name) for process in Path("/proc").glob("[0-9]*") if _is_marked(process, mark, module)
    ]


def _is_marked(process: Path, mark: str, module: str) -> bool:
    try:
        marked = f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
        return marked and (not module or module.encode() in (process / "cmdline").read_bytes().split(b"\0"))
    except OSError:  # it has ended, or is another's
        return False
