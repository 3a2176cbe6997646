"""Recognize errors caused by a full disk, too little memory or missing permissions, and explain them.

Libraries report them in many ways: an errno, the same number in a text, a process that the system killed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from tledge.errors import ResourceError, TledgeError

P = ParamSpec("P")
T = TypeVar("T")

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_FULL_TEXT = re.compile(r"No space left on device|Disk quota exceeded|File too large|errno = (?:28|122|27)\b")
_CUT_TEXT = re.compile(r"\d+ requested and \d+ written")  # numpy, which does not say why
_TOO_LARGE_TEXT = re.compile(r"File too large|errno = 27\b")
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_BROKEN = {errno.EIO, getattr(errno, "EUCLEAN", errno.EIO)}
_NO_PATH = {errno.ENAMETOOLONG, errno.ELOOP}
MEMORY_TEXT = re.compile(
    r"bad_alloc|MemoryError|Cannot allocate memory|(?i:out of memory)|RESOURCE_EXHAUSTED"
    r"|failed to map segment|creation via pthread_create\(\) failed|can't start new thread"
)


NEARLY_FULL = 1 << 20
"""Free bytes below which a disk is assumed to be the full one, where the error names no file."""

_RETRY = (
    "No half-written file is left, and finished work is kept. Make room (or set TLEDGE_CACHE and TMPDIR to "
    "another disk: prepared images and temporary files), then run the command again; tledge train resumes "
    "with --resume."
)
_NO_CURRENT_FOLDER = (
    "the current folder was removed. Change into a folder that exists (cd), then run the command again."
)
_OTHER_PLACES = "--out; TLEDGE_CACHE for prepared images, TMPDIR for temporary files"
MORE_MEMORY = (
    "Close other programs, raise the limit (ulimit -v, [export] memory_mib) or use a machine with more memory"
)


@contextmanager
def resource_errors_explained(path: Path | None = None) -> Iterator[None]:
    """Raise ResourceError where a block fails because of disk, memory or permissions; also a decorator.

    `path` is the file or folder that the block writes.
    """
    try:
        yield
    except TledgeError:
        raise
    except Exception as error:
        if (explanation := cause(error, path)) is None:
            raise
        raise ResourceError(explanation) from error


def system_errors_explained(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: errors of the system become TledgeErrors, as on the command line."""

    @wraps(function)
    def explained(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            with resource_errors_explained():
                return function(*arguments, **options)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise TledgeError(f"{place}{error.strerror or error}.") from error

    return explained


def cause(error: BaseException, path: Path | None = None) -> str | None:
    """Explain an error caused by disk, memory or permissions, with what to do; None for other errors."""
    chain = list(_chain(error))
    if any(map(_is_too_large, chain)):
        return _explain_size_limit(chain, path)
    if any(map(is_full, chain)):
        return _explain_full_disk(chain, path)
    if any(isinstance(linked, MemoryError) or MEMORY_TEXT.search(str(linked)) for linked in chain):
        details = f" ({error})" if str(error) else ""
        return (
            f"out of memory{details}. {MORE_MEMORY}, then run the command again; tledge train resumes "
            "with --resume."
        )
    for linked in chain:
        if isinstance(linked, OSError) and linked.errno in _BROKEN:
            return _explain_broken_disk(linked, path)
    return _explain_refusal(error, path)


def _explain_refusal(error: BaseException, path: Path | None) -> str | None:
    if isinstance(error, OSError) and error.errno in _DENIED:
        place = error.filename2 or error.filename or path
        return f"{place}: {error.strerror}. Change its permissions, or name another place ({_OTHER_PLACES})."
    if isinstance(error, OSError) and error.errno in _NO_PATH:
        return f"{path or error.filename}: {error.strerror}. Name another place, or repair the link."
    if isinstance(error, FileNotFoundError) and not error.filename and not _has_folder():
        return _NO_CURRENT_FOLDER
    return None


def refused(error: OSError, path: Path) -> str:
    """Explain why nothing can be written at `path`, and what to do."""
    if is_full(error) or error.errno in _BROKEN or not (error.errno in _DENIED or _has_folder()):
        return cause(error, path) or _NO_CURRENT_FOLDER
    advice = "Change the permissions of its folder"
    if error.errno not in _DENIED:
        advice = "Check whether a part of its path is a file or a link that leads nowhere, or is too long"
    return f"{path}: cannot be written ({error.strerror}). {advice}, or name another place ({_OTHER_PLACES})."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_full(error: BaseException) -> bool:
    """Tell whether an error means that a disk or a quota is full, or a file at its largest size."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return bool(_FULL_TEXT.search(str(error)) or _CUT_TEXT.search(str(error)))


def _is_too_large(error: BaseException) -> bool:
    """Tell whether an error means that a file reached the largest size that this process may write."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return True
    if _CUT_TEXT.search(str(error)):
        return _size_limit() is not None
    return bool(_TOO_LARGE_TEXT.search(str(error)))


def _explain_size_limit(chain: list[BaseException], path: Path | None) -> str:
    limit = _size_limit()
    named = [path] if path else _named(chain)[:1]
    cause = f"ulimit -f; here {limit} bytes" if limit else "the file system's, or ulimit -f"
    return (
        f"{named[0] if named else 'a file'}: would be larger than the size limit of files ({cause}). Raise "
        "it (ulimit -f unlimited), then run the command again; tledge train resumes with --resume."
    )


def _size_limit() -> int | None:
    """Return the bytes that a file of this process may have; None without a limit, as on Windows."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _named(chain: list[BaseException]) -> list[Path]:
    """Return the files that errors name."""
    return [
        Path(os.fsdecode(error.filename)) for error in chain if isinstance(error, OSError) and error.filename
    ]


def _explain_full_disk(chain: list[BaseException], path: Path | None) -> str:
    places = [path] if path else _named(chain)[:1] or _nearly_full_disks()
    is_certain = not any(_CUT_TEXT.search(str(error)) for error in chain)
    fault = "the disk is full" if is_certain else "the disk is full, or fails (dmesg tells more)"
    disks = "; ".join(f"{place}: {fault}, {free_space(place)}" for place in places)
    return f"{disks or 'a disk or a quota is full'}. {_RETRY}"


def _explain_broken_disk(error: OSError, path: Path | None) -> str:
    place = error.filename or path
    disk = f"{place}: the disk" if place else "a disk"
    return (
        f"{disk} reports an error ({error.strerror}). Copy what you need from it and check it "
        f"(dmesg tells more), or name another place ({_OTHER_PLACES}); then run the command again."
    )


def free_space(path: Path) -> str:
    """Say how much is free on the disk that holds, or would hold, `path`."""
    usage = shutil.disk_usage(next(place for place in (path, *path.absolute().parents) if place.exists()))
    return f"{usage.free / 2**20:.1f} of {usage.total / 2**20:.0f} MiB free, and more is needed"


def expanded(path: str) -> Path:
    """Replace "~" in a path by the home folder; "~name" of an unknown account stays as written.

    Raises ResourceError where this account has no home folder.
    """
    absolute = os.path.expanduser(path)
    if absolute == "~" or absolute.startswith("~/"):
        raise ResourceError(
            f"{path}: this account has no home folder. Set HOME, or set an absolute path (TLEDGE_CACHE for "
            "prepared images, TFDS_DATA_DIR for TensorFlow Datasets)."
        )
    return Path(absolute)


def require_space(folder: Path, needed: int, what: str, alternative: str) -> None:
    """Raise ResourceError, naming `what` needs the space and an `alternative`, unless `needed` bytes are "
    "free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{folder}: the disk is full: {what} take {needed / 2**20:.1f} MiB more, "
            f"{free / 2**20:.1f} MiB free. Make room, point TLEDGE_CACHE at a larger disk, {alternative}."
        )


def _nearly_full_disks() -> list[Path]:
    """Return the first folder that tledge writes into whose disk is nearly full."""
    named = (os.environ.get("TLEDGE_CACHE"), tempfile.gettempdir(), Path("runs"), Path())
    folders = [Path(folder) for folder in named if folder and Path(folder).exists()]
    return [folder for folder in folders if shutil.disk_usage(folder).free < NEARLY_FULL][:1]


def _has_folder() -> bool:
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False
