"""A lock file that names its owner, so that two commands do not write into one place.

What decides is the system's own lock on the file (flock). It ends with its process, however that
ends: what a kill, a crash or a reboot leaves is taken over without a word, and a process number in use
again means nothing. What the file says is for people, and for disks where the system's lock does not
reach: where there is none, the process must still be there to count; and a lock of another machine
stands until someone removes it, because from here nobody can tell. On Windows there are none.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from tledge._io import resource_errors
from tledge._io.json_records import from_json
from tledge.errors import ResourceError, RunError

POLL = 0.2
"""Seconds between two looks whether another command has finished."""

NAMELESS = 1.0
"""Seconds in which the owner of a lock may still be about to write who it is."""

BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Linux' name for this boot of this machine, the same in all its containers."""

_HELD: set[tuple[Path, int]] = set()
"""Lock files held by threads of this process."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lock: `boot` names the boot of its machine, "" where that has no name."""

    pid: int
    command: str
    host: str
    boot: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command}), since {self.since}"


@dataclass(frozen=True)
class _Rival:
    """Another who has a lock; not `certain` where nobody can tell whether it still does."""

    owner: Owner | None
    certain: bool


def current_owner() -> Owner:
    """This process."""
    boot = ""
    with suppress(OSError):
        boot = BOOT.read_text(encoding="ascii").strip()
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return Owner(os.getpid(), _command(), socket.gethostname(), boot, since)


def _command() -> str:
    """What was typed, near enough."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name or "python", *sys.argv[1:]])


@contextmanager
def hold(path: Path, refusal: str, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` for a block; gives False where this thread holds it already.

    Raises RunError where another has it, beginning with `refusal` and naming the owner; with `wait`
    only where nobody can tell whether it still has. ResourceError where the file cannot be written.
    """
    key = path.parent.resolve() / path.name, threading.get_ident()
    if sys.platform == "win32" or key in _HELD:
        yield key not in _HELD
        return
    file = _acquired(path, refusal, wait)
    _HELD.add(key)
    try:
        yield True
    finally:
        _HELD.discard(key)
        with suppress(OSError):  # the folder may be gone
            if _is_at(file, path):
                path.unlink()
        os.close(file)


def _acquired(path: Path, refusal: str, wait: bool) -> int:
    """The lock file, open and locked, with this process as its owner."""
    patience = time.monotonic() + NAMELESS
    while True:
        file = _opened(path)
        rival = _rival(file)
        if rival is None and _is_at(file, path):
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(asdict(current_owner())).encode(), 0)
            return file
        os.close(file)
        if rival is None:  # given back, and removed, in between
            continue
        is_nameless = rival.owner is None and time.monotonic() < patience
        if not (is_nameless or (wait and rival.certain)):
            raise RunError(f"{refusal}: {_told(rival, path)}")
        time.sleep(POLL)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, path.parent)) from error


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one that stands at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _rival(file: int) -> _Rival | None:
    """Who else has the lock; None where nobody does, and then it is locked if the system can."""
    locked, owner, me = _locked(file), _owner(file), current_owner()
    if locked is False:
        return _Rival(owner, certain=True)
    if owner is None:
        return None
    if owner.host == me.host or (me.boot and owner.boot == me.boot):
        runs = locked is None and owner.boot == me.boot and _is_running(owner.pid)
        return _Rival(owner, certain=True) if runs else None
    return _Rival(owner, certain=False)


def _locked(file: int) -> bool | None:
    """Whether the system gave the lock; None where it has none for this disk."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some disks of other machines
        return None
    return True


def _owner(file: int) -> Owner | None:
    """What the file says; None where a kill left it empty or torn."""
    try:
        return from_json(Owner, json.loads(os.pread(file, 1 << 16, 0)))
    except (ValueError, RecursionError):
        return None


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # another user's
        return True
    except (OSError, OverflowError):
        return False
    return True


def _told(rival: _Rival, path: Path) -> str:
    """The owner, and what to do."""
    who = str(rival.owner or "it has not said who it is")
    if rival.certain:
        return f"{who}. Wait for it, or end it."
    return f"{who}. That is another machine: if the command is no longer there, remove {path}."
