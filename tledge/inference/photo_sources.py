"""Find the photos that arguments name: files, folders, patterns, addresses, and `-` for standard input."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tledge.data.labels import natural_key
from tledge.data.sources.folder import SYSTEM_NAMES
from tledge.errors import DataError
from tledge.inference.photo_url import is_url, read_url
from tledge.preprocessing.file_formats import HEAD, SUFFIXES, is_image
from tledge.preprocessing.image import MAX_BYTES

if TYPE_CHECKING:
    from tledge.inference.photos import Photo

STDIN = "-"
"""The argument that stands for a photo on standard input."""

ANNOTATED = ".predicted.jpg"
"""Ending of the annotated copies that `predict --save` writes; folders are read without them."""


@dataclass(frozen=True)
class NamedPhoto:
    """A photo that an argument names.

    Attributes:
        name: What it is called in results: its path or address.
        read: Returns the photo; raises DataError where that is impossible.
        copy: Its path below the folder that annotated copies are saved to, without an ending.
    """

    name: str
    read: Callable[[], Photo]
    copy: str


def find_photos(arguments: Sequence[str], stdin: BinaryIO) -> list[NamedPhoto]:
    """Return the photos that arguments name, in their order; those of a folder or a pattern in natural order.

    Nothing is read before it is asked for. What cannot be found is in the list too, and says so when it is
    read.
    """
    return [photo for argument in arguments for photo in _find(argument, stdin)]


def copy_paths(photos: Sequence[NamedPhoto], folder: Path) -> list[Path]:
    """Return where the annotated copy of each photo goes: no two are equal, and none is one of the photos."""
    taken = {os.path.realpath(photo.name) for photo in photos}
    paths = []
    for photo in photos:
        path, number = folder / f"{photo.copy}{ANNOTATED}", 1
        while os.path.realpath(path) in taken:
            number += 1
            path = folder / f"{photo.copy}-{number}{ANNOTATED}"
        taken.add(os.path.realpath(path))
        paths.append(path)
    return paths


def _find(argument: str, stdin: BinaryIO) -> Iterator[NamedPhoto]:
    if argument == STDIN:
        yield NamedPhoto(STDIN, lambda: _read_stream(stdin), "stdin")
    elif is_url(argument):
        yield NamedPhoto(argument, lambda: read_url(argument), _name_of_url(argument))
    elif not os.path.lexists(argument) and glob.has_magic(argument):
        yield from _matching(argument)
    else:
        yield from _on_disk(argument)


def _read_stream(stream: BinaryIO) -> bytes:
    if stream.isatty():
        raise DataError("-: reads a photo from standard input. Type: tledge predict MODEL - < PHOTO")
    data = stream.read(MAX_BYTES + 1)
    if not data:
        raise DataError("-: standard input is empty.")
    if len(data) > MAX_BYTES:
        raise DataError(f"-: too large; at most {MAX_BYTES >> 20} MiB are read.")
    return data


def _name_of_url(address: str) -> str:
    """Name the copy of a photo by the last part of its address, in characters that any disk takes."""
    last = address.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    return os.path.splitext(re.sub(r"[^\w.-]", "_", last)[:80])[0].lstrip(".") or "photo"


def _matching(pattern: str) -> Iterator[NamedPhoto]:
    found = sorted(glob.glob(pattern, recursive=True), key=_natural_path)
    if not found:
        yield _missing(pattern, "no file matches this pattern.")
    for path in found:
        yield from _on_disk(path)


def _on_disk(path: str) -> Iterator[NamedPhoto]:
    if not os.path.isdir(path):
        yield _file(path, os.path.basename(path))
        return
    photos = list(_walk(path, "", frozenset()))
    yield from photos or [_missing(path, "no photo is in this folder.")]


def _file(path: str, below: str) -> NamedPhoto:
    return NamedPhoto(str(Path(path)), lambda: Path(path), os.path.splitext(below)[0])


def _missing(name: str, why: str) -> NamedPhoto:
    def refuse() -> Photo:
        raise DataError(f"{name}: {why}")

    return NamedPhoto(name, refuse, "")


def _walk(folder: str, below: str, above: frozenset[tuple[int, int]]) -> Iterator[NamedPhoto]:
    """Yield the photos in a folder and the folders in it, also through links, but in no circle."""
    try:
        stat = os.stat(folder)
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: natural_key(entry.name))
    except OSError as error:
        yield _missing(folder, f"cannot be listed ({error.strerror}).")
        return
    identity = (stat.st_dev, stat.st_ino)
    for entry in entries if identity not in above else ():
        inner = os.path.join(below, entry.name)
        if entry.name.startswith(".") or entry.name in SYSTEM_NAMES:
            continue
        if os.path.isdir(entry.path):
            yield from _walk(entry.path, inner, above | {identity})
        elif _is_photo(entry):
            yield _file(entry.path, inner)


def _is_photo(entry: os.DirEntry[str]) -> bool:
    """Tell whether a file has the ending of an image, or none and the content of one."""
    ending = os.path.splitext(entry.name)[1].lower()
    if ending.strip(".0123456789"):
        return ending in SUFFIXES and not entry.name.endswith(ANNOTATED)
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb") as file:
            return is_image(file.read(HEAD))
    except OSError:
        return False


def _natural_path(path: str) -> tuple[tuple[str, str], ...]:
    return tuple(map(natural_key, path.split(os.sep)))
