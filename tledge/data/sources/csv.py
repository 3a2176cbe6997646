"""Read the source `csv`: photos that a CSV file lists, a line each, with their labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tledge.data.sources import csv_faults, csv_labels, csv_paths, csv_tables, csv_text
from tledge.data.sources.base import Reader, Record, Scan, file_stamps
from tledge.data.sources.csv_paths import PhotoPaths
from tledge.data.sources.csv_tables import Columns, Table
from tledge.errors import DataError
from tledge.preprocessing import image

OPTIONS: dict[str, object] = {
    "path": "", "image": "path", "label": "label", "split": "", "delimiter": ",", "folder": "", "ending": "",
    "prefixes": {}, "label_columns": [], "encoding": "",
}  # fmt: skip
"""`image`, `label`, `split`: names of columns; without `split` every photo is in split "train". `{split}` in
the path stands for the name of each split, where every split has a table: "csv:photos/{split}/_classes.csv".
`folder`: where the photos are, seen from the table. `ending`: what to add to names that lack it: ".jpg".
`prefixes`: beginnings of paths, and what stands there instead: `{ "/data/upload/" = "media/upload/" }`.
`label_columns`: instead of `label`, the columns that each stand for a label and hold 1 or 0; `["*"]` for all.
`delimiter`: found by itself if it is a semicolon, a tab or a bar. `encoding`: such as "cp1252", where it is
neither UTF-8 nor UTF-16."""


def scan(options: Mapping[str, object]) -> Scan:
    """Read the tables; their records are the listed photos in the order of the lines, with their path as id.

    Blanks around a cell do not count.

    Raises:
        MissingError: There is no such CSV file.
        RecipeError: Options contradict each other.
        DataError: Tells what is wrong with the lines: a column is missing, a row or cell is empty, or a photo
            is missing or listed twice.
    """
    options = {**OPTIONS, **options}
    csv_tables.check(options)
    root, tables = csv_tables.tables(options)
    contents = [table.path.read_bytes() for table in tables]
    lines: list[_Line] = []
    first: dict[str, str] = {}
    for table, content in zip(tables, contents, strict=True):
        lines += _lines(root, table, content, options, first)
    return Scan(
        fingerprint=lambda: _fingerprint(contents, lines),
        count=lambda: len(lines),
        records=lambda: (
            Record(line.photo, line.label, line.split, partial(image.read_photo, line.path)) for line in lines
        ),
        labels=lambda: {line.label for line in lines},
    )


def check(options: Mapping[str, object]) -> None:
    """Check the options without reading anything; raises RecipeError."""
    csv_tables.check({**OPTIONS, **options})


def _fingerprint(contents: list[bytes], lines: list[_Line]) -> str:
    """Hash the CSV files, and name, size and time of every photo in them."""
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    digest = digests[0] if len(digests) == 1 else "".join(digests)
    return repr((digest, file_stamps((line.photo, line.path) for line in lines)))


def reader(options: Mapping[str, object]) -> Reader:
    """Return a function that reads the file that an id names, from the folder of the CSV file."""
    root = csv_tables.tables({**OPTIONS, **options})[0]
    return lambda name, _offset, _size: image.read_photo(root / name)


@dataclass(frozen=True)
class _Line:
    """One photo: its path from the root, and as it is on disk; `is_one_label`: its cell is a list of one."""

    photo: str
    label: str
    split: str
    path: Path
    number: int
    is_one_label: bool


def _paths(root: Path, table: Table, options: Mapping[str, Any]) -> PhotoPaths:
    """Return how the table's cells become paths from the root."""
    inner = os.path.relpath(table.path.parent, root)
    folder = os.path.join("" if inner == "." else inner, options["folder"])
    return PhotoPaths(folder.replace(os.sep, "/"), options["ending"], options["prefixes"])


def _lines(
    root: Path, table: Table, content: bytes, options: Mapping[str, object], first: dict[str, str]
) -> list[_Line]:
    """Parse all lines of a table; raises one DataError about those that cannot be used.

    `first` holds the place where each photo was listed first.
    """
    rows = csv_text.rows(table.path, content, str(options["delimiter"]), str(options["encoding"]))
    _number, header = next(rows, (1, []))
    columns = csv_tables.columns(table.path, header, options)
    paths = _paths(root, table, options)
    lines: list[_Line] = []
    faults: list[tuple[int, str]] = []
    missing: list[str] = []
    for number, cells in rows:
        try:
            line = _line(root, table, number, cells, columns, paths)
            _refuse_repeated(line, first, f"line {number}{table.split and f' of {table.path}'}")
        except _NoSuchPhoto as fault:
            missing.append(cells[columns.image])
            faults.append((number, str(fault)))
        except ValueError as fault:
            faults.append((number, str(fault)))
        else:
            lines.append(line)
    lists = _lists_of_labels(lines)
    faults = sorted(faults + lists)
    if faults:
        is_common = len(missing) > csv_faults.FEW or not lines
        advice = _advice(table, missing) if is_common else ""
        raise DataError(
            csv_faults.message(table.path, faults, len(lines) + len(faults) - len(lists)) + advice
        )
    if not lines:
        raise DataError(f"{table.path}: lists no photo, expected a line for each below the header.")
    return lines


def _advice(table: Table, missing: list[str]) -> str:
    """Say by which options the photos that are missing would be found, if there are any."""
    proposal = csv_paths.propose(table.path.parent, missing)
    settings = csv_paths.as_toml(proposal) if proposal else []
    return f"\nThey are found with [data] {', '.join(settings)}." if settings else ""


class _NoSuchPhoto(ValueError):
    """A path that leads nowhere."""


def _lists_of_labels(lines: list[_Line]) -> list[tuple[int, str]]:
    """Return number and fault of every line whose label is a list of labels of other lines."""
    certain = {line.label for line in lines if line.is_one_label}
    lists = csv_labels.lists_of_labels(line.label for line in lines)
    return [
        (line.number, csv_labels.list_refusal(line.label, lists[line.label]))
        for line in lines
        if line.label in lists.keys() - certain
    ]


def _line(
    root: Path, table: Table, number: int, cells: list[str], columns: Columns, paths: PhotoPaths
) -> _Line:
    """Parse one row; raises ValueError, with the rest of a sentence, where it cannot be used."""
    if not any(cells):
        raise ValueError("an empty row. Remove it.")
    if len(cells) != columns.width:
        raise ValueError(
            f"{len(cells)} cells {cells!r}, expected {columns.width} as in the header. "
            "Put a cell that holds the delimiter into double quotes."
        )
    for key, place in (("image", columns.image), ("label", columns.label), ("split", columns.split)):
        if place is not None and not cells[place]:
            raise ValueError(f"the {key} of {cells!r} is empty. Fill it in or remove the row.")
    cell = cells[columns.image]
    photo = paths.find(cell, root)
    if photo is None:
        raise _NoSuchPhoto(
            f"{cell!r}: no such photo. Expected a path from {table.path.parent} "
            "or an absolute one, folders separated by '/'."
        )
    split = table.split or ("train" if columns.split is None else cells[columns.split])
    label, is_one_label = columns.label_of(cells), True
    if columns.label is not None:
        label, is_one_label = csv_labels.label_in_cell(label)
    return _Line(photo, label, split, root / photo, number, is_one_label)


def _refuse_repeated(line: _Line, first: dict[str, str], place: str) -> None:
    """Remember the photo's place; raises ValueError for a photo that was listed before."""
    key = os.path.normpath(line.path)
    before = first.setdefault(key, place)
    if before != place:
        raise ValueError(
            f"{line.photo!r} with label {line.label!r} was listed before, on {before}. "
            "Expected every photo once."
        )
