"""Read each file of a run once in a command, however many stages ask for what is in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

State = tuple[tuple[str, int, int, int, int], ...]
"""The state of a file or folder: names, inodes, sizes, times of change."""


class ReadOnce:
    """Keeps values that were read from files; a value is read again only if its file has changed."""

    def __init__(self) -> None:
        self._values: dict[tuple[Path, str], tuple[State, Any]] = {}

    def get(self, path: Path, kind: str, read: Callable[[], T]) -> T:
        """Return the value read from `path`; call `read()` unless it was read from the same state before.

        Args:
            path: the file or folder that `read` reads.
            kind: what is read from it; one file may hold several values.
            read: reads the value; what it raises is not kept.

        Returns:
            The value. Whoever asks gets the same object, so it must not be changed.
        """
        state = state_of(path)
        kept = self._values.get((path, kind))
        if kept is not None and kept[0] == state:
            value: T = kept[1]
            return value
        value = read()
        if state and state == state_of(path):  # else it was changed while it was read
            self._values[path, kind] = (state, value)
        return value


def state_of(path: Path) -> State:
    """Describe the state of a file, or of all files below a folder; empty where there is none."""
    if not path.is_dir():
        return _state("", path)
    below = (Path(root) / name for root, _folders, names in os.walk(path) for name in names)
    return tuple(state for file in sorted(below) for state in _state(str(file.relative_to(path)), file))


def _state(name: str, path: Path) -> State:
    try:
        facts = path.stat()
    except OSError:
        return ()
    return ((name, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns),)
