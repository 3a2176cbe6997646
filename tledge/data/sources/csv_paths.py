"""Find the photos that a CSV file names, and the options by which the others would be found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from tledge.preprocessing.file_formats import SUFFIXES

SAMPLE = 50
"""Paths for which options are searched."""

MOST_FILES = 100_000
"""Files that are looked through for that."""


@dataclass(frozen=True)
class PhotoPaths:
    """How a table's cells become paths from its folder.

    `prefixes` are beginnings of paths with what stands there instead, `folder` is where the photos are,
    seen from the table, and `ending` is added to names that lack it.
    """

    folder: str = ""
    ending: str = ""
    prefixes: Mapping[str, str] = field(default_factory=dict)

    def find(self, cell: str, root: Path) -> str | None:
        """Return the path of a cell's photo from `root`; None where it leads to no file.

        Where the path as written leads nowhere, backslashes separate folders, and %20 is a blank.
        """
        variants = dict.fromkeys((cell, cell.replace("\\", "/"), unquote(cell)))
        return next((name for name in map(self._with_options, variants) if (root / name).is_file()), None)

    def _with_options(self, cell: str) -> str:
        start = max((start for start in self.prefixes if cell.startswith(start)), key=len, default="")
        name = self.prefixes[start] + cell[len(start) :] if start in self.prefixes else cell
        if self.ending and not name.lower().endswith(self.ending.lower()):
            name += self.ending
        return os.path.join(self.folder, name).replace(os.sep, "/") if self.folder else name


def propose(root: Path, cells: Sequence[str]) -> PhotoPaths | None:
    """Find the options by which most of these cells lead to photos below `root`; None without any."""
    files = _files(root)
    found = Counter(_changes(_slashes(cell), files) for cell in cells[:SAMPLE])
    changes, count = found.most_common(1)[0] if found else (None, 0)
    if changes is None or 2 * count < min(len(cells), SAMPLE):
        return None
    start, instead, ending = changes
    if start:
        return PhotoPaths(ending=ending, prefixes={start: instead})
    return PhotoPaths(folder=instead.rstrip("/"), ending=ending)


def as_toml(paths: PhotoPaths) -> list[str]:
    """Return the lines of a recipe that set these options."""
    table = ", ".join(f'"{start}" = "{instead}"' for start, instead in paths.prefixes.items())
    return [
        *[f'folder = "{paths.folder}"'] * bool(paths.folder),
        *[f'ending = "{paths.ending}"'] * bool(paths.ending),
        *[f"prefixes = {{ {table} }}"] * bool(table),
    ]


def _slashes(cell: str) -> str:
    return unquote(cell).replace("\\", "/")


def _files(root: Path) -> dict[str, list[str]]:
    """Return the paths of the image files below a folder by their names, with and without ending."""
    files: dict[str, list[str]] = {}
    for path in islice(_image_files(root), MOST_FILES):
        name = path.rpartition("/")[2]
        for key in {name, os.path.splitext(name)[0]}:
            files.setdefault(key, []).append(path)
    return files


def _image_files(root: Path) -> Iterator[str]:
    for folder, _folders, names in os.walk(root):
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                yield name if inner == "." else f"{inner}/{name}"


def _changes(cell: str, files: Mapping[str, Iterable[str]]) -> tuple[str, str, str] | None:
    """Return the beginning to replace, what stands instead, and the ending to add; None without a file.

    Of several files that fit, the one that shares most of its path with the cell is taken.
    """
    best: tuple[int, tuple[str, str, str]] | None = None
    for path in files.get(cell.rpartition("/")[2], ()):
        ending = "" if cell.endswith(os.path.splitext(path)[1]) else os.path.splitext(path)[1]
        shared = _shared_end(cell + ending, path)
        start, instead = cell[: len(cell + ending) - shared], path[: len(path) - shared]
        if best is None or shared > best[0]:
            best = shared, (start, instead, ending)
    return best[1] if best else None


def _shared_end(cell: str, path: str) -> int:
    """Return the length of the longest common end that begins where a name of the path begins."""
    starts = [0, *(place + 1 for place, letter in enumerate(path) if letter == "/")]
    return max((len(path) - start for start in starts if cell.endswith(path[start:])), default=0)
