"""Find the tables of the source `csv`, and the columns that hold the photo, the label and the split."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tledge._io import resource_errors
from tledge.data.sources import csv_text
from tledge.errors import DataError, MissingError, RecipeError

SPLIT = "{split}"
"""What stands in the path of tables for the name of each split."""

EVERY = "*"
"""In `label_columns`: every column except those of the photo and the split."""

IMAGE_NAMES = (
    "path", "image", "filename", "file", "file_name", "image_path", "filepath", "image_id", "id", "img",
    "photo", "name", "url",
)  # fmt: skip
LABEL_NAMES = (
    "label", "class", "category", "class_name", "choice", "target", "species", "breed", "labels", "tag",
)  # fmt: skip
"""Names of columns that other tools write, the likeliest first."""

YES, NO = frozenset(("1", "1.0", "true", "yes")), frozenset(("", "0", "0.0", "false", "no"))
"""Cells of a column that stands for a label, in lower case."""


@dataclass(frozen=True)
class Table:
    """A CSV file, and the split that its name stands for ("" if none)."""

    path: Path
    split: str


def tables(options: Mapping[str, object]) -> tuple[Path, list[Table]]:
    """Return the folder from which ids are paths, and the tables: one, or one for each split."""
    text = str(options["path"])
    if SPLIT not in text:
        path = resource_errors.expanded(text)
        if not path.is_file():
            raise MissingError(f'{path}: no such CSV file. Set [data] source = "csv:PATH".')
        return path.parent, [Table(path, "")]
    before, after = text.split(SPLIT, 1)
    root = resource_errors.expanded(before + "x").parent
    start = os.path.join(root, _last(before))
    pattern = glob.escape(start) + "*" + glob.escape(after).replace(SPLIT, "*")
    expression = re.compile(re.escape(start) + "(?P<split>[^/\\\\]+)" + _repeated(after))
    found = [(match["split"], path) for path in glob.glob(pattern) if (match := expression.fullmatch(path))]
    if not found:
        raise MissingError(
            f"{text}: no CSV file fits. {SPLIT} stands for the name of a split, such as train."
        )
    return root, [Table(Path(path), split) for split, path in sorted(found)]


def _last(text: str) -> str:
    return re.split(r"[/\\]", text)[-1]


def _repeated(text: str) -> str:
    return re.escape(text).replace(re.escape(SPLIT), "(?P=split)")


@dataclass(frozen=True)
class Columns:
    """Which cell holds what: the numbers of the columns, and labels by column where there is one for each."""

    width: int
    image: int
    label: int | None
    split: int | None
    labels: Mapping[int, str]

    def label_of(self, cells: Sequence[str]) -> str:
        """Return the label of a row; raises ValueError where there is none or several."""
        if self.label is not None:
            return cells[self.label]
        values = {name: cells[number].lower() for number, name in self.labels.items()}
        odd = [name for name, cell in values.items() if cell not in YES | NO]
        if odd:
            raise ValueError(f"{values[odd[0]]!r} in column {odd[0]!r}: expected 1 or 0.")
        found = [name for name, cell in values.items() if cell in YES]
        if len(found) != 1:
            number = "no column" if not found else f"{len(found)} columns ({', '.join(map(repr, found[:3]))})"
            raise ValueError(f"{cells[self.image]!r}: {number} with 1, expected one label. Remove the row.")
        return found[0]


def columns(table: Path, header: list[str], options: Mapping[str, object]) -> Columns:
    """Find the columns that the options name; raises DataError that names those that are there."""
    wanted = [str(name) for name in options["label_columns"]]  # type: ignore[attr-defined]
    keys = ["image", *["label"] * (not wanted), "split"]
    names = {key: str(options[key]) for key in keys if options[key]}
    for key, name in names.items():
        if header.count(name) != 1:
            raise DataError(_no_column(table, header, key, name))
    places = {key: header.index(name) for key, name in names.items()}
    labels = [name for name in header if name not in names.values()] if wanted == [EVERY] else wanted
    for name in labels if wanted else ():
        if header.count(name) != 1:
            raise DataError(_no_column(table, header, "label_columns", name))
    by_column = {header.index(name): name for name in labels} if wanted else {}
    return Columns(len(header), places["image"], places.get("label"), places.get("split"), by_column)


def _no_column(table: Path, header: list[str], key: str, name: str) -> str:
    problem = "more than one column" if name in header else "no column"
    likely = likely_column(header, IMAGE_NAMES if key == "image" else LABEL_NAMES)
    hint = f' Perhaps {key} = "{likely}".' if likely and key in ("image", "label") else ""
    if key == "label" and not likely:
        hint = f' If each label has a column of 0 and 1, set label_columns = ["{EVERY}"].'
    return (
        f"{table}:1: {problem} {name!r}; the columns are {', '.join(map(repr, header[:20])) or 'none'}"
        f"{' and more' * (len(header) > 20)}. "
        f"Name the right one with [data] {key}, and what separates columns with [data] delimiter.{hint}"
    )


def likely_column(header: Sequence[str], known: Sequence[str]) -> str:
    """Return the column whose name other tools use for this; "" if there is none."""
    by_name = {name.lower().replace(" ", "_"): name for name in reversed(header)}
    return next((by_name[name] for name in known if name in by_name), "")


def check(options: Mapping[str, object]) -> None:
    """Check options that contradict each other or have the wrong type inside; raises RecipeError."""
    csv_text.check_delimiter(str(options["delimiter"]))
    csv_text.check_encoding(str(options["encoding"]))
    prefixes, label_columns = options["prefixes"], options["label_columns"]
    if not isinstance(prefixes, dict) or not all(
        isinstance(to, str) and start for start, to in prefixes.items()
    ):
        raise RecipeError(
            "[data] prefixes: expected what paths begin with and what stands there instead, such as "
            f'{{ "/data/upload/" = "media/upload/" }}, got {prefixes!r}.'
        )
    if not isinstance(label_columns, list) or not all(isinstance(name, str) for name in label_columns):
        raise RecipeError(
            f"[data] label_columns: expected a list of columns, or [{EVERY!r}], got {label_columns!r}."
        )
    if label_columns and options["label"] != "label":
        raise RecipeError("[data] label_columns: stands instead of label; leave one of them out.")
    if options["split"] and SPLIT in str(options["path"]):
        raise RecipeError(f"[data] split: {SPLIT} in the path names the splits; leave one of them out.")
