"""Look at a CSV file for `tledge init`: its columns, where its photos are, and how they are split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tledge.data.sources import csv as source
from tledge.data.sources import csv_paths, csv_tables, csv_text
from tledge.data.sources.csv_paths import PhotoPaths
from tledge.data.sources.csv_tables import EVERY, IMAGE_NAMES, LABEL_NAMES, NO, SPLIT, YES
from tledge.data.sources.split_names import role_of
from tledge.errors import DataError
from tledge.preprocessing.file_formats import SUFFIXES
from tledge.recipe.init_folder import Folder, check_counts, count, measure

ENDINGS = {".csv", ".tsv", ".txt"}
"""Endings of tables, in lower case."""

SPLIT_NAMES = ("split", "subset", "set", "partition", "part", "dataset")
"""Names of columns that say to which split a photo belongs."""

ONE_ENCODING = "cp1252"
"""What a table is taken for that is neither UTF-8 nor UTF-16: most such tables are from Windows."""

Rows = Sequence[Sequence[str]]


def is_table(path: Path) -> bool:
    """Tell whether a path names a CSV file, or one for each split."""
    return SPLIT in str(path) or (path.suffix.lower() in ENDINGS and path.is_file())


def folder_of(path: Path) -> Path:
    """Return the folder of a table, or the one that holds all tables of splits."""
    return Path(str(path).partition(SPLIT)[0] + "x").parent if SPLIT in str(path) else path.parent


def look(path: Path) -> Folder:
    """Find the options by which a table can be read, count its photos and read their headers.

    Raises:
        MissingError: There is no such table.
        DataError: Its columns or photos are not found, or what `init_folder.look` refuses.
    """
    path = Path(os.path.abspath(path))
    root, tables = csv_tables.tables({"path": str(path)})
    content = tables[0].path.read_bytes()
    encoding = _encoding(tables[0].path, content)
    numbered = list(csv_text.rows(tables[0].path, content, encoding=encoding))
    header = numbered.pop(0)[1] if numbered else []
    rows = [cells for _number, cells in numbered if len(cells) == len(header)]
    options: dict[str, object] = {"encoding": encoding} if encoding else {}
    options |= _columns(tables[0].path, header, rows, is_split=bool(tables[0].split))
    cells = [row[header.index(str(options["image"]))] for row in rows]
    options |= _paths(tables[0].path.parent, cells)
    scan = source.scan({"path": str(path), **options})
    records = list(scan.records())
    splits, classes = count(path, records)
    check_counts(path, splits, classes.names)
    folder = measure(root, "pattern", records, splits, classes)
    defaults = source.OPTIONS
    return replace(
        folder,
        source=f"csv:{path.as_posix()}",
        options={key: value for key, value in options.items() if value != defaults[key]},
        why_source=_reason(options, records[0].id, records[0].label),
        left_out=scan.left_out(),
    )


def _encoding(table: Path, content: bytes) -> str:
    try:
        csv_text.decode(table, content)
    except DataError:
        return ONE_ENCODING
    return ""


def _columns(table: Path, header: Sequence[str], rows: Rows, *, is_split: bool) -> dict[str, object]:
    """Find the columns by their names, and by what is in them."""
    columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    split = "" if is_split else csv_tables.likely_column(header, SPLIT_NAMES)
    if split and not all(map(role_of, columns[split])):
        split = ""
    image = csv_tables.likely_column(header, IMAGE_NAMES)
    paths = [name for name, cells in columns.items() if cells and all(map(_is_image_name, cells))]
    image = image if image in paths or not paths else paths[0]
    if not image:
        raise DataError(f"{table}:1: no column of photos among {', '.join(map(repr, header)) or 'none'}.")
    chosen: dict[str, object] = {"image": image, "split": split}
    others = [name for name in header if name not in (image, split)]
    label = csv_tables.likely_column(others, LABEL_NAMES)
    flags = [name for name in others if {cell.lower() for cell in columns[name]} <= YES | NO]
    if not label and len(flags) > 1:
        return chosen | {"label_columns": [EVERY] if flags == others else flags}
    if not label and len(others) == 1:
        label = others[0]
    if not label:
        raise DataError(
            f"{table}:1: no column of labels is recognized among {', '.join(map(repr, others)) or 'none'}. "
            "Give it the name 'label'."
        )
    return chosen | {"label": label}


def _is_image_name(cell: str) -> bool:
    return os.path.splitext(cell)[1].lower() in SUFFIXES


def _paths(root: Path, cells: Sequence[str]) -> Mapping[str, object]:
    """Return the options by which the cells lead to photos; none where they do without."""
    sample = cells[: csv_paths.SAMPLE]
    missing = [cell for cell in sample if PhotoPaths().find(cell, root) is None]
    proposal = csv_paths.propose(root, missing) if 2 * len(missing) > len(sample) else None
    return vars(proposal) if proposal else {}


def _reason(options: Mapping[str, object], photo: str, label: str) -> str:
    """Explain the options: what was found by them, and what is a guess."""
    sentences = [f"The label of {photo!r} is {label!r}."]
    if options.get("label_columns"):
        sentences.append("Each label has a column, which holds 1 for its photos.")
    if options.get("folder") or options.get("prefixes"):
        sentences.append("The paths of the table lead elsewhere; with these options they lead to photos.")
    elif options.get("ending"):
        sentences.append("The names in the table lack the ending.")
    if options.get("encoding"):
        sentences.append(
            f"The table is neither UTF-8 nor UTF-16, so {ONE_ENCODING} is likely. Look at the labels."
        )
    return " ".join(sentences)
