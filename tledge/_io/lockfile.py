"""Hold a lock file that names its owner, so that two commands do not write into one folder.

The operating system's own lock on the file (flock) decides. It ends with its process, however that process
ends: a lock file left by a killed process or by a reboot is taken over silently, and a recycled process ID
does not count. The content of the file is for people, and for disks on which flock does not work: there a
lock counts while its process runs. A lock of another machine counts until someone removes it, because its
process cannot be checked from here. Windows has no such locks.

This is own code because the usual library, filelock, does not say who holds a lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tledge._io import resource_errors
from tledge._io.json_records import from_json
from tledge.errors import ResourceError, RunError

POLL = 0.2
"""Seconds between two checks whether another command has finished."""

NAMING_TIME = 1.0
"""Seconds that the owner of a new lock may take to write its name into the file."""

LONGEST_NAME = 255
"""Bytes of a file's name, on all usual file systems."""

BOOT = Path("/proc/sys/kernel/random/boot_id")
"""File with Linux' identifier of this boot of the machine, the same in all its containers."""

_HELD: set[tuple[Path, int]] = set()
"""Lock files held by threads of this process."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock; `boot` identifies the boot of its machine, "" where that is unknown."""

    pid: int
    command: str
    host: str
    boot: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command}), since {self.since}"


@dataclass(frozen=True)
class _OtherOwner:
    """Another owner of a lock; `certain` is False where its process cannot be checked from here."""

    owner: Owner | None
    certain: bool


def current_owner() -> Owner:
    """Describe this process as the owner of a lock."""
    boot = ""
    with suppress(OSError):
        boot = BOOT.read_text(encoding="ascii").strip()
    return Owner(os.getpid(), _command(), socket.gethostname(), boot, _now())


def _now() -> str:
    """Return the time here, or in UTC where TZ holds a time zone that Python cannot tell."""
    now = datetime.now(UTC)
    with suppress(ValueError, OverflowError, OSError):
        now = now.astimezone()
    return now.isoformat(" ", "seconds")


def _command() -> str:
    """Return the command line of this process, as it was typed as far as that is known."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name or "python", *sys.argv[1:]])


def beside(path: Path) -> Path:
    """Return the lock file beside a file or folder, whose name may be as long as a file system allows."""
    name = f".{path.name}.lock"
    if len(os.fsencode(name)) > LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
        name = f".{path.name[:32]}-{digest}.lock"
    return path.with_name(name)


@contextmanager
def hold(path: Path, refusal: str, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` for a block; yield False where this thread holds it already.

    Args:
        path: the lock file; it is created, and removed at the end.
        refusal: the beginning of the message where another process or thread holds the lock.
        wait: wait until the other process ends, as long as it can be checked from here.

    Raises:
        RunError: another process or thread holds the lock; the message names it.
        ResourceError: the lock file cannot be written, or is a symbolic link or a pipe.
    """
    key = path.parent.resolve() / path.name, threading.get_ident()
    if sys.platform == "win32" or key in _HELD:
        yield key not in _HELD
        return
    file = _acquire(path, refusal, wait)
    _HELD.add(key)
    try:
        yield True
    finally:
        _HELD.discard(key)
        with suppress(OSError):  # the folder may be gone
            if _is_at(file, path):
                path.unlink()
        os.close(file)


def _acquire(path: Path, refusal: str, wait: bool) -> int:
    """Open and lock the lock file, and write this process into it as its owner."""
    naming_deadline = time.monotonic() + NAMING_TIME
    while True:
        file = _open(path)
        other = _other_owner(file)
        if other is None and _is_at(file, path):
            if _is_writable(file):
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(asdict(current_owner())).encode(), 0)
                return file
            _remove(path)
        os.close(file)
        if other is None:  # released and removed in the meantime
            continue
        is_about_to_write = other.owner is None and time.monotonic() < naming_deadline
        if not (is_about_to_write or (wait and other.certain)):
            raise RunError(f"{refusal}: {_owner_and_advice(other, path)}")
        time.sleep(POLL)


def _open(path: Path) -> int:
    """Open the lock file, or create it; never through a symbolic link, whose target would be overwritten."""
    try:
        file = _open_or_create(path)
    except OSError as error:
        if path.is_symlink():
            raise ResourceError(
                f"{path}: the lock file is a symbolic link to {os.readlink(path)}, whose target would be "
                f"overwritten. Remove the link: rm {shlex.quote(str(path))}"
            ) from error
        raise ResourceError(resource_errors.refused(error, path.parent)) from error
    facts = os.fstat(file)
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink <= 1:
        return file
    os.close(file)
    kind = "not a regular file but a pipe or a device"
    if stat.S_ISREG(facts.st_mode):
        kind = "also the file of another name (a hard link), which would be overwritten"
    raise ResourceError(f"{path}: the lock file is {kind}. Remove it: rm {shlex.quote(str(path))}")


def _open_or_create(path: Path) -> int:
    """Open the lock file to write, or only to read where it is another user's."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except PermissionError as error:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            raise error from None


def _is_writable(file: int) -> bool:
    """Tell whether an open file is this user's to write into."""
    import fcntl

    return fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _remove(path: Path) -> None:
    """Remove a lock file that a command of another user left, which nobody holds."""
    try:
        path.unlink()
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, path.parent)) from error


def _is_at(file: int, path: Path) -> bool:
    """Tell whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _other_owner(file: int) -> _OtherOwner | None:
    """Return who else holds the lock; None if nobody does, and then this process has locked the file."""
    locked, owner, me = _lock(file), _read_owner(file), current_owner()
    if locked is False:
        return _OtherOwner(owner, certain=True)
    if owner is None:
        return None
    if owner.host == me.host or (me.boot and owner.boot == me.boot):
        runs = locked is None and owner.boot == me.boot and _is_running(owner.pid)
        return _OtherOwner(owner, certain=True) if runs else None
    return _OtherOwner(owner, certain=False)


def _lock(file: int) -> bool | None:
    """Ask the system for its lock on a file; None where this disk supports no such locks."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network disks
        return None
    return True


def _read_owner(file: int) -> Owner | None:
    """Read the owner from a lock file; None where a killed process left it empty or incomplete."""
    try:
        return from_json(Owner, json.loads(os.pread(file, 1 << 16, 0)))
    except (ValueError, RecursionError):
        return None


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # a process of another user
        return True
    except (OSError, OverflowError):
        return False
    return True


def _owner_and_advice(other: _OtherOwner, path: Path) -> str:
    name = str(other.owner or "its process has not written its name yet")
    if other.certain:
        return f"{name}. Wait until it ends, or end it."
    return f"{name}. That is another machine: if the command no longer runs there, remove {path}."
