"""What a machine runs short of: disk, memory, rights; how that is recognised, and said.

Libraries say it in many ways: an errno, the same number in a text, a process that the system killed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tledge.errors import ResourceError, TledgeError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_FULL_TEXT = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|errno = (?:28|122|27)\b"
    r"|\d+ requested and \d+ written"  # numpy
)
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_PATH = {errno.ENAMETOOLONG, errno.ELOOP}
MEMORY_TEXT = re.compile(
    r"bad_alloc|MemoryError|Cannot allocate memory|(?i:out of memory)|RESOURCE_EXHAUSTED"
    r"|failed to map segment|creation via pthread_create\(\) failed|can't start new thread"
)


NEARLY_FULL = 1 << 20
"""Free bytes below which a disk may be the one that an error without a name is about."""

_AGAIN = (
    "Nothing half-written is left, and what was finished is kept. Make room (TLEDGE_CACHE and TMPDIR name "
    "other places for prepared photos and scratch), then run the command again; train goes on with --resume."
)
_GONE = "the current folder was removed. Change into one that exists (cd), then run the command again."
_PLACES = "--out; TLEDGE_CACHE for prepared photos, TMPDIR for scratch"
LESS = "Close other programs, raise a limit (ulimit -v, [export] memory_mib) or take a machine with more"


@contextmanager
def resource_errors_explained(path: Path | None = None) -> Iterator[None]:
    """Raise ResourceError for what a block fails with where disk, memory or rights were the cause.

    `path` is what is being written. Also a decorator.
    """
    try:
        yield
    except TledgeError:
        raise
    except Exception as error:
        if (why := cause(error, path)) is None:
            raise
        raise ResourceError(why) from error


def cause(error: BaseException, path: Path | None = None) -> str | None:
    """The shortage behind an error in words, with what to do; None where it is none."""
    chain = list(_chain(error))
    if any(map(is_full, chain)):
        return _full(chain, path)
    if any(isinstance(one, MemoryError) or MEMORY_TEXT.search(str(one)) for one in chain):
        return (
            f"out of memory{_said(error)}. {LESS}, then run the command again; train goes on with --resume."
        )
    if isinstance(error, OSError) and error.errno in _DENIED:
        place = error.filename2 or error.filename or path
        return f"{place}: {error.strerror}. Change its rights, or name another place ({_PLACES})."
    if isinstance(error, OSError) and error.errno in _NO_PATH:
        return f"{path or error.filename}: {error.strerror}. Name another place, or mend the link."
    if isinstance(error, FileNotFoundError) and not error.filename and not _has_folder():
        return _GONE
    return None


def refused(error: OSError, path: Path) -> str:
    """Why nothing can be written at `path`, and what to do."""
    if is_full(error) or not (error.errno in _DENIED or _has_folder()):
        return cause(error, path) or _GONE
    advice = "Change its folder's rights"
    if error.errno not in _DENIED:
        advice = "Look whether a part of its path is a file or a link that leads nowhere, or is too long"
    return f"{path}: cannot be written ({error.strerror}). {advice}, or name another place ({_PLACES})."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or a quota, is full."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return bool(_FULL_TEXT.search(str(error)))


def _said(error: BaseException) -> str:
    return f" ({error})" if str(error) else ""


def _full(chain: list[BaseException], path: Path | None) -> str:
    named = [Path(os.fsdecode(one.filename)) for one in chain if isinstance(one, OSError) and one.filename]
    places = [path] if path else named[:1] or _nearly_full()
    told = "; ".join(f"{one}: the disk is full, {room(one)}" for one in places)
    return f"{told or 'a disk is full, or a quota used up'}. {_AGAIN}"


def room(path: Path) -> str:
    """How much is free of the disk that holds, or would hold, `path`."""
    usage = shutil.disk_usage(next(one for one in (path, *path.absolute().parents) if one.exists()))
    return f"{usage.free / 2**20:.1f} of {usage.total / 2**20:.0f} MiB free, and it takes more"


def expanded(path: str) -> Path:
    """A path whose "~" is the home folder; the home of an account that is not known stays as written.

    Raises ResourceError for an account that has no home itself.
    """
    found = os.path.expanduser(path)
    if found == "~" or found.startswith("~/"):
        raise ResourceError(
            f"{path}: this account has no home folder. Set HOME, or name a whole path (TLEDGE_CACHE for "
            "prepared photos, TFDS_DATA_DIR for TensorFlow Datasets)."
        )
    return Path(found)


def require_space(folder: Path, wanted: int, what: str, otherwise: str) -> None:
    """Raise ResourceError, with what else can be done, where the disk of `folder` lacks `wanted` bytes."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise ResourceError(
            f"{folder}: the disk is full: {what} take {wanted / 2**20:.1f} MiB more, "
            f"{free / 2**20:.1f} MiB free. Make room, point TLEDGE_CACHE at a larger disk, {otherwise}."
        )


def _nearly_full() -> list[Path]:
    """Where tledge writes, of the places whose disk has next to nothing free."""
    named = (os.environ.get("TLEDGE_CACHE"), tempfile.gettempdir(), Path("runs"), Path())
    found = [Path(one) for one in named if one and Path(one).exists()]
    return [one for one in found if shutil.disk_usage(one).free < NEARLY_FULL][:1]


def _has_folder() -> bool:
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False
