"""Files and folders that stand under their final name whole, or not at all.

They are made beside it, under a name that begins with a dot, put on the disk, and renamed. So they
are whole after a kill at any moment, and after a power failure: without the wait for the disk,
some file systems keep the new name and lose the content. That wait is a few milliseconds a file, and is
for all of them alike, also for large ones that could be made again: what goes on from a checkpoint would
not notice what is wrong in them.
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
"""In temporary names, between the final name and what makes them unique."""

MANY = 300
"""Files above which waiting for each takes longer than waiting for whatever the disk has to write."""

EXCHANGE = 2
"""Linux' RENAME_EXCHANGE."""

HERE = -100
"""Linux' AT_FDCWD: paths are meant as everywhere."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: if the block ends well, put on the disk and renamed; else removed.

    Raises ResourceError where nothing can be written there, and where disk or memory run out.
    """
    folder = path.parent / f"{_prefix(path.name)}{os.urandom(8).hex()}"
    with resource_errors.resource_errors_explained(path):
        try:
            _make(folder, path)
            made = folder / path.name
            yield made
            settle(made)
            if not (path.is_dir() and _exchanged(made, path)):
                if path.is_dir():  # a folder cannot be renamed onto another; a kill in between is for `sweep`
                    os.replace(path, folder / "old")
                os.replace(made, path)
            _settle_names(path.parent)
        finally:
            try:
                shutil.rmtree(folder, ignore_errors=True)
            except BaseException:  # asked to end meanwhile, by whatever name: once more, from the start
                shutil.rmtree(folder, ignore_errors=True)
                raise


def _make(folder: Path, path: Path) -> None:
    """A new folder beside `path`, whose own folder is made where it is not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(0o700)
    except OSError as error:
        raise ResourceError(resource_errors.refused(error, path)) from error


def _prefix(name: str) -> str:
    """Of a temporary name: the beginning of the final one, which may be as long as a file system allows."""
    return f".{name[:32]}{UNFINISHED}"


def _exchanged(one: Path, other: Path) -> bool:
    """Swap what stands under two names, in one instant; False where the system or the disk cannot."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        swap = ctypes.CDLL(None).renameat2
    except AttributeError:  # an old C library
        return False
    failed: int = swap(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE)
    return not failed


def settle(path: Path) -> None:
    """Have a file, or a folder with all that is in it, on the disk before this returns.

    For a folder of more than `MANY` files the system is asked for all of the disk at once.
    """
    if not path.is_dir():
        _settle_file(path)
        return
    tree = [(Path(folder), names) for folder, _folders, names in os.walk(path)]
    if sum(len(names) for _folder, names in tree) > MANY and hasattr(os, "sync"):
        os.sync()
        return
    for folder, names in tree:
        for name in names:
            _settle_file(folder / name)
        _settle_names(folder)


def _settle_file(path: Path) -> None:
    if path.is_symlink():  # a link is a name, and may lead nowhere
        return
    with path.open("r+b" if sys.platform == "win32" else "rb") as file:
        os.fsync(file.fileno())


def _settle_names(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system does that for folders."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Put right what killed commands left in a folder, of one final name or of all.

    Only for whoever may be sure that nobody is writing there. A folder that was moved aside and not yet
    replaced gets its new content; all else that is unfinished is removed.
    """
    for left in folder.glob(f".*{UNFINISHED}*" if name is None else f"{escape(_prefix(name))}*"):
        made = [one for one in left.iterdir() if name in (None, one.name) and one.name != "old"]
        final = [folder / one.name for one in made]
        if (left / "old").exists() and made and not final[0].exists():
            os.replace(made[0], final[0])
        shutil.rmtree(left, ignore_errors=True)
