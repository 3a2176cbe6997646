"""Write atomically: a file or folder appears under its final name only when complete.

It is written beside its final place, under a name that begins with a dot, flushed to the disk and renamed.
So it is complete after a kill at any moment and after a power failure: without the flush, some file systems
keep the new name and lose the content. The flush takes a few milliseconds a file. It is done for all files,
also for large ones that could be computed again, because a command that resumes would not notice the damage.

This is own code because the usual library, atomicwrites, replaces files but no folders.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from tledge._io import resource_errors
from tledge.errors import ResourceError

UNFINISHED = ".tledge-"
"""Part of every temporary name, between the final name and a random part."""

MANY = 300
"""Number of files above which one flush of the whole disk is faster than a flush of each file."""

EXCHANGE = 2
"""Linux' RENAME_EXCHANGE: swap two names."""

CURRENT_FOLDER = -100
"""Linux' AT_FDCWD: relative paths start at the current folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; afterwards flush it to the disk and rename it to `path`.

    Where the block raises, the temporary path is removed and `path` stays as it was.

    Raises:
        ResourceError: nothing can be written there, or disk or memory are too small.
    """
    folder = path.parent / f"{_prefix(path.name)}{os.urandom(8).hex()}"
    with resource_errors.resource_errors_explained(path):
        try:
            _create_folder(folder, path)
            temporary = folder / path.name
            yield temporary
            flush(temporary)
            if not (path.is_dir() and _exchange(temporary, path)):
                if (
                    path.is_dir()
                ):  # no folder is renamed onto another; `remove_leftovers` repairs a kill in between
                    os.replace(path, folder / "old")
                os.replace(temporary, path)
            _flush_names(path.parent)
        finally:
            try:
                shutil.rmtree(folder, ignore_errors=True)
            except BaseException:  # interrupted meanwhile: start once more
                shutil.rmtree(folder, ignore_errors=True)
                raise


def _create_folder(folder: Path, path: Path) -> None:
    """Create the temporary folder beside `path`, and the folder of `path` if it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(0o700)
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, path)) from error


def _prefix(name: str) -> str:
    """Begin a temporary name with part of the final one, which may be as long as a file system allows."""
    return f".{name[:32]}{UNFINISHED}"


def _exchange(path: Path, other: Path) -> bool:
    """Swap the contents of two names in one step; False where the system or the disk cannot."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        swap = ctypes.CDLL(None).renameat2
    except AttributeError:  # an old C library
        return False
    failed: int = swap(CURRENT_FOLDER, os.fsencode(path), CURRENT_FOLDER, os.fsencode(other), EXCHANGE)
    return not failed


def flush(path: Path) -> None:
    """Flush a file, or a folder and everything in it, to the disk.

    For a folder of more than `MANY` files the whole disk is flushed at once.
    """
    if not path.is_dir():
        _flush_file(path)
        return
    tree = [(Path(folder), names) for folder, _folders, names in os.walk(path)]
    if sum(len(names) for _folder, names in tree) > MANY and hasattr(os, "sync"):
        os.sync()
        return
    for folder, names in tree:
        for name in names:
            _flush_file(folder / name)
        _flush_names(folder)


def _flush_file(path: Path) -> None:
    if path.is_symlink():  # only a name, whose target may be missing
        return
    with path.open("r+b" if sys.platform == "win32" else "rb") as file:
        os.fsync(file.fileno())


def _flush_names(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system does that for folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Clean up what killed commands left in a folder, of one final name or of all.

    Call it only while no other process writes there, and not for a link inside a folder of others. A folder
    that was moved aside but not yet replaced gets its new content; every other unfinished file or folder is
    removed. A link in the place of one is removed, and what it leads to stays.
    """
    for leftover in folder.glob(f".*{UNFINISHED}*" if name is None else f"{escape(_prefix(name))}*"):
        if leftover.is_symlink() or not leftover.is_dir():
            leftover.unlink(missing_ok=True)
            continue
        new = next((p for p in leftover.iterdir() if name in (None, p.name) and p.name != "old"), None)
        if new and (leftover / "old").exists() and not (folder / new.name).exists():
            os.replace(new, folder / new.name)
        shutil.rmtree(leftover, ignore_errors=True)
