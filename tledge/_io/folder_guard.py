"""Walk folders that somebody else may have made: no link is followed, and the order is always the same.

The same walk serves for hashing, copying and packing, so that nothing is packed that was not hashed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tledge._io import file_guard
from tledge.errors import RunError, TledgeError

MAX_ENTRIES = 100_000
"""A folder of others with more entries is refused."""


@dataclass(frozen=True)
class Entry:
    """What lies below a folder: its path, its path in the folder with forward slashes, its own `st_mode`."""

    path: Path
    name: str
    mode: int

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, no link to one."""
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, no link to one."""
        return stat.S_ISDIR(self.mode)


def walk(folder: Path) -> Iterator[Entry]:
    """Yield everything below a folder, parents first, in order of name: files, folders, and also links,
    pipes, sockets and devices, none of which is followed or opened. The folder itself may be a link.
    """
    pending = [("", folder)]
    while pending:
        prefix, place = pending.pop()
        with os.scandir(place) as listing:
            found = sorted(listing, key=lambda item: item.name)
        entries = [
            Entry(place / item.name, prefix + item.name, item.stat(follow_symlinks=False).st_mode)
            for item in found
        ]
        yield from entries
        pending += [(f"{entry.name}/", entry.path) for entry in reversed(entries) if entry.is_folder]


def entries(folder: Path, error: type[TledgeError] = RunError, most: int = MAX_ENTRIES) -> list[Entry]:
    """Return the files and folders below a folder, in the order of `walk`.

    Raises:
        TledgeError: of class `error`: a link, pipe, socket or device lies in it, which the message names,
            or more than `most` files and folders.
    """
    found: list[Entry] = []
    for entry in walk(folder):
        if not (entry.is_file or entry.is_folder):
            raise file_guard.refusal(entry.path, entry.mode, error)
        found.append(entry)
        if len(found) > most:
            raise error(f"{folder}: holds more than {most} files and folders.")
    return found


def files(folder: Path, error: type[TledgeError] = RunError, most: int = MAX_ENTRIES) -> list[Entry]:
    """Return the files below a folder, sorted by name; raise what `entries` raises."""
    return sorted(
        (entry for entry in entries(folder, error, most) if entry.is_file), key=lambda entry: entry.name
    )


def require_plain(path: Path, below: Path, error: type[TledgeError] = RunError) -> None:
    """Raise what `entries` raises, unless `path` is a file, or a folder of only files and folders.

    No part of the path below the folder `below` may be a link.
    """
    file_guard.require_no_link(path, below, error)
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        entries(path, error)
    elif not stat.S_ISREG(mode):
        raise file_guard.refusal(path, mode, error)
