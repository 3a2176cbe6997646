"""Read the source `csv`: photos that a CSV file lists, a line each, with their labels."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tledge._io import resource_errors
from tledge.data.sources.base import Reader, Record, Scan, file_stamps
from tledge.errors import DataError, MissingError, RecipeError
from tledge.preprocessing import image

OPTIONS: dict[str, object] = {"path": "", "image": "path", "label": "label", "split": "", "delimiter": ","}
"""`image`, `label`, `split`: names of columns; without `split` every photo is in split "train"."""

SHOWN = 10
"""Bad lines that one message quotes."""


def scan(options: Mapping[str, object]) -> Scan:
    """Read the table; its records are the listed photos in the order of the lines, with their path as id.

    Blanks around a cell do not count.

    Raises:
        MissingError: There is no such CSV file.
        RecipeError: The delimiter is not one character.
        DataError: Quotes the lines: a column is missing, a row or cell is empty, or a photo is missing or
            listed twice.
    """
    content = _table(options).read_bytes()
    lines = _lines(options, content)
    return Scan(
        fingerprint=lambda: _fingerprint(content, lines),
        count=lambda: len(lines),
        records=lambda: (
            Record(line.photo, line.label, line.split, partial(image.read_photo, line.path)) for line in lines
        ),
    )


def _fingerprint(content: bytes, lines: list[_Line]) -> str:
    """Hash the CSV file, and name, size and time of every photo in it."""
    digest = hashlib.sha256(content).hexdigest()
    return repr((digest, file_stamps((line.photo, line.path) for line in lines)))


def reader(options: Mapping[str, object]) -> Reader:
    """Return a function that reads the file that an id names, from the folder of the CSV file."""
    root = _table(options).parent
    return lambda name, _offset, _size: image.read_photo(root / name)


@dataclass(frozen=True)
class _Line:
    """One photo: its path as written and as it is on disk."""

    photo: str
    label: str
    split: str
    path: Path


def _table(options: Mapping[str, object]) -> Path:
    path = resource_errors.expanded(str(options["path"]))
    if not path.is_file():
        raise MissingError(f'{path}: no such CSV file. Set [data] source = "csv:PATH".')
    return path


def _lines(options: Mapping[str, object], content: bytes) -> list[_Line]:
    """Parse all lines of the table; raises one DataError about those that cannot be used."""
    table = _table(options)
    rows = _rows(table, content, str(options["delimiter"]))
    _number, header = next(rows, (1, []))
    columns = _columns(table, header, options)
    lines: list[_Line] = []
    faults: list[str] = []
    first: dict[str, int] = {}
    for number, cells in rows:
        try:
            line = _line(table, cells, len(header), columns)
            _refuse_repeated(line, first, number)
        except ValueError as fault:
            faults.append(f"{table}:{number}: {fault}")
        else:
            lines.append(line)
    if faults:
        rest = f"\nand {len(faults) - SHOWN} more lines" if len(faults) > SHOWN else ""
        raise DataError("\n".join(faults[:SHOWN]) + rest)
    if not lines:
        raise DataError(f"{table}: lists no photo, expected a line for each below the header.")
    return lines


def _rows(table: Path, content: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row, cells without blanks around them, and the number of the line on which it starts."""
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise RecipeError(f'[data] delimiter = {delimiter!r}: expected one character, such as "," or "\\t".')
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: not UTF-8 ({error}). Save it as UTF-8.") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for cells in reader:
            yield number, [cell.strip() for cell in cells]
            number = reader.line_num + 1
    except csv.Error as error:
        advice = "Check the quotes of this row."
        raise DataError(f"{table}:{number}: not valid CSV ({error}). {advice}") from error


def _columns(table: Path, header: list[str], options: Mapping[str, object]) -> dict[str, int]:
    """Find the columns of the path, the label and, if the recipe names one, the split."""
    column_names = {key: str(options[key]) for key in ("image", "label", "split") if options[key]}
    for key, name in column_names.items():
        if header.count(name) != 1:
            problem = "more than one column" if name in header else "no column"
            raise DataError(
                f"{table}:1: {problem} {name!r}; the columns are {', '.join(map(repr, header)) or 'none'}. "
                f"Name the right one with [data] {key}, and what separates columns with [data] delimiter."
            )
    return {key: header.index(name) for key, name in column_names.items()}


def _line(table: Path, cells: list[str], width: int, columns: Mapping[str, int]) -> _Line:
    """Parse one row; raises ValueError, with the rest of a sentence, where it cannot be used."""
    if not any(cells):
        raise ValueError("an empty row. Remove it.")
    if len(cells) != width:
        raise ValueError(
            f"{len(cells)} cells {cells!r}, expected {width} as in the header. "
            "Put a cell that holds the delimiter into double quotes."
        )
    named = {key: cells[place] for key, place in columns.items()}
    for key, cell in named.items():
        if not cell:
            raise ValueError(f"the {key} of {cells!r} is empty. Fill it in or remove the row.")
    path = table.parent / named["image"]
    if not path.is_file():
        raise ValueError(
            f"{named['image']!r}: no such photo. Expected a path from {table.parent} "
            "or an absolute one, folders separated by '/'."
        )
    return _Line(named["image"], named["label"], named.get("split", "train"), path)


def _refuse_repeated(line: _Line, first: dict[str, int], number: int) -> None:
    """Remember the photo's line; raises ValueError for a photo that was listed before."""
    key = os.path.normpath(line.path)
    before = first.setdefault(key, number)
    if before != number:
        raise ValueError(
            f"{line.photo!r} with label {line.label!r} was listed before, on line {before}. "
            "Expected every photo once."
        )
