"""The processes that a tledge command starts: found by what they run, and hit while they work."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "TLEDGE_TORTURE_CASE"
"""In the environment of a command and of all that it starts, so that no other's are hit."""


@contextmanager
def hit(module: str, with_signal: int, mark: str, after: float = 0.0) -> Iterator[list[int]]:
    """Send a signal to the first process of `mark` that runs `module`, `after` seconds it was seen.

    Gives the list that its number is put into.
    """
    done, found = threading.Event(), list[int]()

    def watch() -> None:
        while not done.is_set() and not found:
            for process in of(mark, module):
                time.sleep(after)
                try:
                    os.kill(process, with_signal)
                except ProcessLookupError:
                    continue
                found.append(process)
                break
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def of(mark: str, module: str = "") -> list[int]:
    """Numbers of the processes whose environment has `mark` and that run `module`; of any without."""
    return [int(one.name) for one in Path("/proc").glob("[0-9]*") if _is(one, mark, module)]


def _is(process: Path, mark: str, module: str) -> bool:
    try:
        marked = f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
        return marked and (not module or module.encode() in (process / "cmdline").read_bytes().split(b"\0"))
    except OSError:  # it has ended, or is another's
        return False
