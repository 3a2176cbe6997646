"""Define what a data source is: a name in the `SOURCES` table and a stream of records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tledge._io.encoding import CONTROL
from tledge.data.labels import normalized
from tledge.data.sources.left_out import LeftOut
from tledge.errors import DataError


@dataclass(frozen=True)
class Record:
    """One labelled photo, not yet decoded.

    `id` is unique within the source and stable between runs, `split` is the source's own name
    for the part it belongs to, and `read()` returns the encoded bytes; it can be pickled, so
    another process may read. `file` names the file that holds many records, where
    there is one, so that a split can take whole files, and `where()` finds the offset in bytes at
    which the photo begins there.
    """

    id: str
    label: str
    split: str
    read: Callable[[], bytes]
    file: str = ""
    where: Callable[[], int] = int


Reader = Callable[[str, int, int], bytes]
"""Function from a record's id, its offset and its size in bytes to the encoded photo; thread-safe."""


@dataclass(frozen=True)
class Scan:
    """What one walk over a source found; each part is computed only when it is asked for.

    `fingerprint()` is text that changes when the source's content does, part of the cache key. `count()` is
    the number of records, found without decoding a photo. `records()` yields every record, in an order that
    never changes. `labels()` are the labels of all photos where they are known before any photo is read.
    `order()` are all labels, unused ones too, where the source has an order of its own.
    """

    fingerprint: Callable[[], str]
    count: Callable[[], int]
    records: Callable[[], Iterator[Record]]
    left_out: Callable[[], Mapping[str, LeftOut]] = dict
    """What the walk passed over, by reason."""
    labels: Callable[[], Iterable[str]] = tuple
    order: Callable[[], Sequence[str]] = tuple


class Source(Protocol):
    """The interface of a module in the `SOURCES` table."""

    OPTIONS: dict[str, object]
    """Known `[data]` keys of this source, each with its default."""

    def scan(self, options: Mapping[str, object]) -> Scan:
        """Find the source's photos; `prepare_dataset` calls this once."""

    def reader(self, options: Mapping[str, object]) -> Reader:
        """Return a function that reads any single photo; raises RecipeError where that is impossible."""


def return_bytes(data: bytes) -> bytes:
    """Return the bytes themselves, as `Record.read` of a source that already holds them."""
    return data


def file_stamps(files: Iterable[tuple[str, str | Path]]) -> list[tuple[str, int, int]]:
    """Return name, size and time of every file, by which a fingerprint recognizes a changed file."""
    return [(name, *_stamp(path)) for name, path in files]


def _stamp(path: str | Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except FileNotFoundError:  # deleted since it was listed: reading it says so, and names it
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def printable_id(name: str) -> str:
    """Escape what a record's name has that cannot stand in one line of UTF-8."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def require_printable(record: Record) -> None:
    """Raise DataError where a record's id or label could not stand in a file of labels."""
    for description, name in ((f"the label {record.label!r}", record.label), ("its name", record.id)):
        if CONTROL.search(name):
            raise DataError(f"{description} has control characters or is not UTF-8. Rename it.")
    if not normalized(record.label):
        raise DataError(f"the label {record.label!r} is blank. Rename it.")
