"""Read the source `folder`: photos in folders, `ROOT/<split>/<label>/photo` or `ROOT/<label>/photo`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tledge._io import resource_errors
from tledge.data.sources.base import Reader, Record, Scan, file_stamps
from tledge.errors import DataError, MissingError
from tledge.preprocessing import image

OPTIONS: dict[str, object] = {"path": ""}
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff",
    ".heic", ".heif", ".avif",
}  # fmt: skip
Photo = tuple[tuple[str, ...], str]
"""The names that lead to a photo below the root, and its path as text, which is faster than `Path`."""

_CLUTTER = {"__MACOSX", "@eaDir"}
"""Folders of previews that macOS and NAS systems create; names with a leading dot are skipped too."""


def scan(options: Mapping[str, object]) -> Scan:
    """Walk the folder once; its records are the photos in order of path.

    Photos without a split folder are all in split `train`.

    Raises:
        MissingError: The folder does not exist.
        DataError: It contains what `photos` refuses. `records()` of the scan raises it too, where the folder
            holds no photos, or photos at mixed depths.
    """
    root = _root(options)
    listed = list(photos(root))
    return Scan(
        fingerprint=lambda: repr(file_stamps(("/".join(parts), path) for parts, path in listed)),
        count=lambda: len(listed),
        records=lambda: _records(root, listed),
    )


def _records(root: Path, listed: list[Photo]) -> Iterator[Record]:
    _check_depths(root, [parts for parts, _path in listed])
    for parts, path in listed:
        *split, label, _name = parts
        read = partial(image.read_photo, Path(path))
        yield Record("/".join(parts), label, split[0] if split else "train", read)


def reader(options: Mapping[str, object]) -> Reader:
    """Return a function that reads the file that an id names."""
    root = _root(options)
    return lambda name, _offset, _size: image.read_photo(root / name)


def photos(root: Path) -> Iterator[Photo]:
    """Yield every photo below `root`, in order of path, also through links to files and folders.

    Hidden files and folders and those in `__MACOSX` and `@eaDir` are skipped. Raises DataError
    for a folder that cannot be listed and a link with the name of a photo that leads nowhere.
    """
    yield from _walk(str(root), (), frozenset())


def _walk(folder: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> Iterator[Photo]:
    stat = os.stat(folder)
    identity = (stat.st_dev, stat.st_ino)
    if identity in above:  # a link back to a folder that it lies in
        return
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be listed ({error.strerror}). Change its permissions or move it away."
        ) from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _CLUTTER:
            continue
        if _exists(entry) and entry.is_dir():
            yield from _walk(entry.path, (*parts, entry.name), above | {identity})
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and _is_photo(entry):
            yield (*parts, entry.name), entry.path


def _exists(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is not a link to nothing, or to itself."""
    return not entry.is_symlink() or Path(entry.path).exists()


def _is_photo(entry: os.DirEntry[str]) -> bool:
    if not _exists(entry):
        raise DataError(
            f"{entry.path}: a link to {os.readlink(entry.path)}, which does not exist. "
            "Restore the photo or remove the link."
        )
    return entry.is_file()


def _check_depths(root: Path, listed: list[tuple[str, ...]]) -> None:
    if not listed:
        raise DataError(
            f"{root}: holds no photos, expected <split>/<label>/photo or <label>/photo with one of "
            f"the endings {' '.join(sorted(SUFFIXES))}."
        )
    examples = {len(parts): "/".join(parts) for parts in reversed(listed)}
    if not examples.keys() <= {2, 3} or len(examples) > 1:
        examples_text = "; ".join(f"depth {depth}: {examples[depth]}" for depth in sorted(examples))
        raise DataError(
            f"{root}: photos must be in one subfolder per label, as <split>/<label>/photo or <label>/photo; "
            f"found {len(listed)} photos at depths {sorted(examples)} ({examples_text}). "
            "Move or remove the others."
        )


def _root(options: Mapping[str, object]) -> Path:
    root = resource_errors.expanded(str(options["path"]))
    if not root.is_dir():
        raise MissingError(f'{root}: no such folder of photos. Set [data] source = "folder:PATH".')
    return root
