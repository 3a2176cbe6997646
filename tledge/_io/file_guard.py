"""Open files that somebody else may have made: regular files of a limited size, and nothing else.

A link could lead to any file of the user, a pipe never ends or never begins, and a device may do anything.
A folder that the user names may itself be a link; no part of a path below it may be one.
"""

from __future__ import annotations

import os
import shlex
import stat
from io import BufferedReader
from pathlib import Path

from tledge.errors import RunError, TledgeError

_KINDS = {
    stat.S_IFREG: "a regular file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip

BLOCK = 16 << 20
"""Bytes that are read in one call."""

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def kind(mode: int) -> str:
    """Say what a file is, with its article, from the `st_mode` that `stat` or `lstat` returned."""
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def open_file(
    path: Path,
    *,
    below: Path | None = None,
    follow: bool = False,
    limit: int | None = None,
    error: type[TledgeError] = RunError,
) -> BufferedReader:
    """Open a regular file to read its bytes, without waiting; read only from what this returns.

    Args:
        path: the file.
        below: a folder that contains it; no part of the path below this folder may be a link.
        follow: accept a link as the last part of the path, as in a user's own photo folders.
        limit: the largest size in bytes.
        error: the class of error to raise.

    Raises:
        TledgeError: of class `error`: it is a link, a folder, a pipe, a socket or a device, or too large.
        OSError: it is missing, or cannot be read.
    """
    if below is not None and _parts(path, below, error):
        require_no_link(path.parent, below, error)
    before = path.stat() if follow else path.lstat()
    _require_regular(path, before.st_mode, follow, error)
    more = _FLAGS | (0 if follow else _NO_LINK)
    try:
        file = open(path, "rb", opener=lambda _path, flags: _open(path, below, flags | more))  # noqa: SIM115
    except OSError:
        if not follow:
            require_no_link(path, below or path.parent, error)  # exchanged since
        raise
    try:
        facts = os.fstat(file.fileno())
        _require_regular(path, facts.st_mode, follow, error)
        _require_size(path, facts.st_size, limit, error)
    except BaseException:
        file.close()
        raise
    return file


def read_bytes(
    path: Path,
    *,
    below: Path | None = None,
    follow: bool = False,
    limit: int | None = None,
    error: type[TledgeError] = RunError,
) -> bytes:
    """Read a regular file of at most `limit` bytes; see `open_file`, whose arguments and errors these are."""
    with open_file(path, below=below, follow=follow, limit=limit, error=error) as file:
        data = file.read() if limit is None else _read_at_most(file, limit + 1)
    _require_size(path, len(data), limit, error)  # it may grow while it is read
    return data


def _read_at_most(file: BufferedReader, size: int) -> bytes:
    """Read at most `size` bytes, in blocks: one call would take the memory for all of them at once."""
    blocks, left = [], size
    while left and (block := file.read(min(left, BLOCK))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def require_no_link(path: Path, below: Path, error: type[TledgeError] = RunError) -> None:
    """Raise an error of class `error` where `path`, or a part of it below the folder `below`, is a link."""
    place = below
    for part in _parts(path, below, error):
        place /= part
        if place.is_symlink():
            raise refusal(place, place.lstat().st_mode, error)


def refusal(
    path: Path, mode: int, error: type[TledgeError] = RunError, expected: str = "a regular file or a folder"
) -> TledgeError:
    """Return the error for a link, pipe, socket or device in the place of what was `expected`."""
    found, advice = kind(mode), f"Remove it: rm {shlex.quote(str(path))}"
    if stat.S_ISLNK(mode):
        found += f" to {_target(path)}, which is not followed"
        advice = "Put a copy of what it leads to in its place, or remove the link"
        advice += f": rm {shlex.quote(str(path))}"
    elif stat.S_ISDIR(mode):
        advice = "Move it to another place"
    return error(f"{path}: is {found}; expected {expected}. {advice}")


def _parts(path: Path, below: Path, error: type[TledgeError]) -> tuple[str, ...]:
    """Return the names that lead from a folder to a path below it; raise `error` where it leads elsewhere."""
    parts = path.relative_to(below).parts if path.is_relative_to(below) else ("..",)
    if ".." in parts:
        raise error(f"{path}: leads out of {below}, which it belongs to.")
    return parts


def _target(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return "another place"


def _require_regular(path: Path, mode: int, follow: bool, error: type[TledgeError]) -> None:
    if stat.S_ISREG(mode):
        return
    if follow:  # named by the user, who need not remove it
        raise error(f"{path}: is {kind(mode)}; expected a regular file, or a link to one.")
    raise refusal(path, mode, error, "a regular file")


def _require_size(path: Path, size: int, limit: int | None, error: type[TledgeError]) -> None:
    if limit is not None and size > limit:
        unit, name = (1 << 20, "MiB") if limit >= 1 << 20 else (1, "bytes")
        raise error(f"{path}: too large, {size // unit} {name}; at most {limit // unit} are read.")


def _open(path: Path, below: Path | None, flags: int) -> int:
    """Open a file; below a folder, each part from its parent, so that none can be exchanged for a link."""
    if below is None or os.open not in os.supports_dir_fd:
        return os.open(path, flags)
    *folders, name = path.relative_to(below).parts
    parent = os.open(below, _FOLDER)
    try:
        for folder in folders:
            child = os.open(folder, _FOLDER | _NO_LINK, dir_fd=parent)
            os.close(parent)
            parent = child
        return os.open(name, flags, dir_fd=parent)
    finally:
        os.close(parent)
