"""Read the source `folder`: photos in folders, `ROOT/<split>/<label>/photo` or `ROOT/<label>/photo`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tledge._io import resource_errors
from tledge.data.sources import label_patterns
from tledge.data.sources.base import Reader, Record, Scan, file_stamps
from tledge.data.sources.label_patterns import LabelPattern
from tledge.data.sources.left_out import (
    EMPTY_FOLDER,
    ENDING,
    HIDDEN,
    NO_LABEL,
    NOT_AN_IMAGE,
    SYSTEM,
    UNREADABLE,
    LeftOutCounter,
    sentences,
)
from tledge.data.sources.split_names import role_of
from tledge.errors import DataError, MissingError
from tledge.preprocessing import image
from tledge.preprocessing.file_formats import HEAD, SUFFIXES, is_image

OPTIONS: dict[str, object] = {"path": "", "label_from": label_patterns.FOLDER}
"""`label_from`: with "folder" the label is the folder of a photo, as `<split>/<label>/photo` or
`<label>/photo`. "name:PATTERN" finds it in the names of files, without their ending: "name:{label}.*" in
`cat.0.jpg`, "name:*_{label}" in `0003_tulip.png`; the first folder, if there is one, is the split then.
"path:PATTERN" finds it in the path below the folder: "path:{label}/*/*", "path:{split}/{label}/**". `{label}`
takes as much as it can, `{number}` is a whole number, `*` is any text within a name, and `**` also matches
folders. Photos that do not fit are left out and counted. Files with the ending of an image are photos, and
files without an ending whose content is an image."""

Photo = tuple[tuple[str, ...], str]
"""The names that lead to a photo below the root, and its path as text, which is faster than `Path`."""

Labelled = tuple[Photo, tuple[str, str]]
"""A photo, and its split and label."""

SYSTEM_NAMES = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information"}
"""Files and folders that macOS, Windows and NAS systems create; hidden ones are left out too."""


def scan(options: Mapping[str, object]) -> Scan:
    """Walk the folder once; its records are the photos in order of path.

    Photos without a split folder are all in split `train`.

    Raises:
        MissingError: The folder does not exist.
        RecipeError: `label_from` is not a pattern.
        DataError: It contains what `photos` refuses. `records()` of the scan raises it too, where the folder
            holds no photos, photos at mixed depths, or none whose name fits the pattern.
    """
    root, left_out = _root(options), LeftOutCounter()
    listed = list(photos(root, left_out))
    pattern = _pattern(options)
    labelled = [(photo, ("", "")) for photo in listed]
    if pattern:
        labelled = list(_by_pattern(listed, pattern, left_out))

    def records() -> Iterator[Record]:
        return (
            _pattern_records(root, options, listed, labelled) if pattern else _records(root, listed, left_out)
        )

    return Scan(
        fingerprint=lambda: repr(file_stamps(("/".join(parts), path) for (parts, path), _label in labelled)),
        count=lambda: len(labelled),
        records=records,
        left_out=left_out.by_reason,
        labels=lambda: {record.label for record in records()},
    )


def check(options: Mapping[str, object]) -> None:
    """Check the options without reading anything; raises RecipeError."""
    _pattern(options)


def _pattern(options: Mapping[str, object]) -> LabelPattern | None:
    return label_patterns.parse(str(options.get("label_from", label_patterns.FOLDER)))


def _records(root: Path, listed: list[Photo], left_out: LeftOutCounter) -> Iterator[Record]:
    _check_depths(root, [parts for parts, _path in listed], left_out)
    _refuse_splits_as_labels(root, listed)
    for parts, path in listed:
        *split, label, _name = parts
        read = partial(image.read_photo, Path(path))
        yield Record("/".join(parts), label, split[0] if split else "train", read)


def _by_pattern(listed: list[Photo], pattern: LabelPattern, left_out: LeftOutCounter) -> Iterator[Labelled]:
    for parts, path in listed:
        if place := pattern.match(parts):
            yield (parts, path), place
        else:
            left_out.add(NO_LABEL, "/".join(parts))


def _pattern_records(
    root: Path, options: Mapping[str, object], listed: list[Photo], labelled: list[Labelled]
) -> Iterator[Record]:
    if not labelled:
        examples = ", ".join("/".join(parts) for parts, _path in listed[:3]) or "there is none"
        raise DataError(
            f"{root}: no photo fits [data] label_from = {options['label_from']!r}; "
            f"{len(listed)} photos are there: {examples}."
        )
    for (parts, path), (split, label) in labelled:
        yield Record("/".join(parts), label, split, partial(image.read_photo, Path(path)))


def reader(options: Mapping[str, object]) -> Reader:
    """Return a function that reads the file that an id names."""
    root = _root(options)
    return lambda name, _offset, _size: image.read_photo(root / name)


def photos(root: Path, left_out: LeftOutCounter) -> Iterator[Photo]:
    """Yield every photo below `root`, in order of path, also through links to files and folders.

    Photos are files with the ending of an image, and files without an ending whose content is one.
    Everything else is counted in `left_out`: hidden files and folders, those of the system, other files, and
    folders without photos. Raises DataError for a folder that cannot be listed and a link with the name of a
    photo that leads nowhere.
    """
    yield from _Walk(left_out).walk(str(root), (), frozenset())


@dataclass
class _Walk:
    """Walk a folder; `found` counts the photos so far."""

    left_out: LeftOutCounter
    found: int = 0

    def walk(self, folder: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> Iterator[Photo]:
        stat = os.stat(folder)
        identity = (stat.st_dev, stat.st_ino)
        if identity in above:  # a link back to a folder that it lies in
            return
        before, without_photos = self.found, []
        for entry in _entries(folder):
            inner = (*parts, entry.name)
            found = self.found
            if reason := _ignored(entry):
                self.left_out.add(reason, "/".join(inner) + "/" * _is_folder(entry))
            elif _is_folder(entry):
                yield from self.walk(entry.path, inner, above | {identity})
                without_photos += ["/".join(inner) + "/"] * (self.found == found)
            elif reason := _unusable(entry):
                self.left_out.add(reason, "/".join(inner))
            else:
                self.found += 1
                yield inner, entry.path
        if not parts or self.found > before:  # otherwise the folder itself is without photos
            for name in without_photos:
                self.left_out.add(EMPTY_FOLDER, name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be listed ({error.strerror}). Change its permissions or move it away."
        ) from error


def _ignored(entry: os.DirEntry[str]) -> str:
    """Return why an entry is left out by its name alone; "" if it is not."""
    if entry.name in SYSTEM_NAMES:
        return SYSTEM
    return HIDDEN if entry.name.startswith(".") else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return _exists(entry) and entry.is_dir()


def _exists(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is not a link to nothing, or to itself."""
    return not entry.is_symlink() or Path(entry.path).exists()


def _unusable(entry: os.DirEntry[str]) -> str:
    """Return why a file is not a photo; "" if it is one. A number is no ending: it names no kind of file."""
    ending = os.path.splitext(entry.name)[1].lower()
    if ending in SUFFIXES:
        return "" if _is_photo(entry) else NOT_AN_IMAGE
    if ending.strip(".0123456789"):
        return ENDING
    if not _exists(entry) or not entry.is_file():
        return NOT_AN_IMAGE
    try:
        with open(entry.path, "rb") as file:
            return "" if is_image(file.read(HEAD)) else NOT_AN_IMAGE
    except OSError:
        return UNREADABLE


def _is_photo(entry: os.DirEntry[str]) -> bool:
    if not _exists(entry):
        raise DataError(
            f"{entry.path}: a link to {os.readlink(entry.path)}, which does not exist. "
            "Restore the photo or remove the link."
        )
    return entry.is_file()


def _refuse_splits_as_labels(root: Path, listed: list[Photo]) -> None:
    """Raise DataError where the only folders are those of splits: their names would become labels."""
    folders = sorted({parts[0] for parts, _path in listed})
    if len(listed[0][0]) == 2 and all(map(role_of, folders)):
        raise DataError(
            f"{root}: {', '.join(folders)}: split folders without label folders. Expected "
            "<split>/<label>/photo or <label>/photo. If the names of the photos tell their labels, say "
            'where: [data] label_from = "name:{label}_*", or --label-from of `tledge init`. If these folders '
            'are the labels: "path:{label}/*".'
        )


def _check_depths(root: Path, listed: list[tuple[str, ...]], left_out: LeftOutCounter) -> None:
    if not listed:
        others = "".join(f" {line[0].upper()}{line[1:]}." for line in sentences(left_out.by_reason()))
        raise DataError(
            f"{root}: holds no photos, expected <split>/<label>/photo or <label>/photo with one of "
            f"the endings {' '.join(sorted(SUFFIXES))}.{others}"
        )
    examples = {len(parts): "/".join(parts) for parts in reversed(listed)}
    if not examples.keys() <= {2, 3} or len(examples) > 1:
        examples_text = "; ".join(f"depth {depth}: {examples[depth]}" for depth in sorted(examples))
        raise DataError(
            f"{root}: photos must be in one subfolder per label, as <split>/<label>/photo or <label>/photo; "
            f"found {len(listed)} photos at depths {sorted(examples)} ({examples_text}). "
            'Move or remove the others, or say with [data] label_from = "path:..." where the label stands.'
        )


def _root(options: Mapping[str, object]) -> Path:
    root = resource_errors.expanded(str(options["path"]))
    if not root.is_dir():
        raise MissingError(f'{root}: no such folder of photos. Set [data] source = "folder:PATH".')
    return root
