"""Look at a folder of photos for `tledge init`: its layout, its labels, how many photos, and their sizes."""

from __future__ import annotations

import os
import random
import re
import shlex
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tledge._process import processors
from tledge.data.labels import ClassList, class_list
from tledge.data.sources import folder as source
from tledge.data.sources.base import Record
from tledge.data.sources.csv_tables import SPLIT
from tledge.data.sources.label_patterns import FOLDER
from tledge.data.sources.left_out import LeftOut, LeftOutCounter
from tledge.data.sources.split_names import ROLES, role_of
from tledge.errors import DataError, MissingError, RecipeError
from tledge.preprocessing import image as preprocessing_image
from tledge.preprocessing.file_formats import FORMATS
from tledge.preprocessing.pillow_open import open_image, pillow_warnings_ignored
from tledge.recipe import init_groups
from tledge.recipe.init_layout import FEWEST, Layout, find_layout

LAYOUTS = "<split>/<label>/photo.jpg or <label>/photo.jpg"

HEADERS = 5000
"""Photos whose headers are read; of a larger folder, a sample of this size."""


ARCHIVES = {
    ".zip": "zipfile",
    ".tar": "tarfile",
    ".tgz": "tarfile",
    ".gz": "tarfile",
    ".bz2": "tarfile",
    ".xz": "tarfile",
}
"""Endings of archives, and the module of Python that unpacks each."""


@dataclass(frozen=True)
class Folder:
    """A folder of photos: its layout, labels and counts.

    `layout` is "split/label" or "label", or "pattern" where options say where the label is. `splits`
    counts photos by split folder and label (one split "train" where there are no split folders, as the
    source calls it), the sides are short sides in pixels, and `unreadable` are lines "name: reason" of the
    `headers` that were read. `merged` describes spellings of one label. `source` (`folder:PATH` if empty)
    and `options` are keys of `[data]`, `why_source` explains them, and `left_out` counts the files that are
    no photos of a label.
    """

    path: Path
    layout: str
    splits: Mapping[str, Mapping[str, int]]
    labels: tuple[str, ...]
    median_side: int
    min_side: int
    headers: int
    unreadable: tuple[str, ...]
    merged: tuple[str, ...] = ()
    source: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    why_source: str = ""
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    alike: tuple[str, ...] = ()
    """Labels most of whose photos are near-duplicates of each other, where splits are to be drawn."""


def look(root: Path, label_from: str = "") -> Folder:
    """Count the photos of a folder and read their headers (of a large folder, those of a sample).

    Args:
        root: The folder.
        label_from: Where the label is, as in `[data] label_from`; found out if empty.

    Raises:
        RecipeError: There is no such folder, or `label_from` is not a pattern.
        DataError: The layout is not understood, there is a single label, or a label has fewer than
            `FEWEST` photos in train.
    """
    given = _real(root)
    if not given.is_dir():
        _refuse_archive(root)
        raise RecipeError(f"{given}: no such folder. Expected a folder of photos, as {LAYOUTS}.")
    layout = Layout(given, label_from) if label_from else _layout(given)
    root = layout.root
    scan = source.scan({"path": str(root), "label_from": layout.label_from})
    try:
        records = list(scan.records())
    except DataError as error:
        raise DataError(f"{error}{_table_hint(given)}") from error
    kind = "split/label" if records[0].id.count("/") == 2 else "label"
    if layout.label_from != FOLDER:
        kind = "pattern"
    splits, classes = count(root, records)
    check_counts(root, splits, classes.names)
    return replace(
        measure(root, kind, records, splits, classes),
        options={"label_from": layout.label_from} if kind == "pattern" else {},
        why_source=_why_source(given, layout, records[0].id, records[0].label),
        left_out=scan.left_out(),
        alike=_alike(root, splits, records),
    )


def _alike(root: Path, splits: Mapping[str, object], records: Iterable[Record]) -> tuple[str, ...]:
    """Return the labels that near-duplicates hold together, where a split is a share of the train folder."""
    roles = roles_of(root, splits)
    if len(roles) == len(ROLES):
        return ()
    return init_groups.held_together(record for record in records if record.split == roles["train"])


def count(root: Path, records: Iterable[Record]) -> tuple[dict[str, dict[str, int]], ClassList]:
    """Count the photos by split and label."""
    records = list(records)
    try:
        classes = class_list(record.label for record in records)
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    counts = Counter((record.split, classes.spellings.get(record.label, record.label)) for record in records)
    splits = {
        split: {label: counts[split, label] for label in classes.names if counts[split, label]}
        for split in sorted({record.split for record in records})
    }
    return splits, classes


def measure(
    root: Path,
    layout: str,
    records: Sequence[Record],
    splits: Mapping[str, Mapping[str, int]],
    classes: ClassList,
) -> Folder:
    """Read the headers of up to `HEADERS` photos; their ids are paths from the folder."""
    names = [record.id for record in records]
    if len(names) > HEADERS:
        names = sorted(random.Random(0).sample(names, HEADERS))
    sides, unreadable = _headers(root, names)
    if not sides:
        raise DataError(f"{root}: none of {len(unreadable):,} photos can be read. {unreadable[0]}.")
    return Folder(
        root,
        layout,
        splits,
        classes.names,
        int(statistics.median(sides)),
        min(sides),
        len(sides) + len(unreadable),
        tuple(unreadable),
        classes.merged,
    )


def _table_hint(root: Path) -> str:
    """Point at a CSV file in the folder, or in its split folders; "" without one."""
    found = sorted(root.glob("*.csv"))
    in_splits = [path for path in sorted(root.glob("*/*.csv")) if role_of(path.parent.name)]
    if not found and not in_splits:
        return ""
    path = found[0] if found else root / SPLIT / in_splits[0].name
    return f" The labels may be in {path}: tledge init {shlex.quote(str(path))}"


def _layout(root: Path) -> Layout:
    return find_layout(root, [parts for parts, _path in source.photos(root, LeftOutCounter())])


def _why_source(given: Path, layout: Layout, example: str, label: str) -> str:
    """Explain a folder that is not the given one, and where labels are if they are not folders."""
    sentences = []
    if layout.root != given:
        below = layout.root.relative_to(given).as_posix()
        sentences.append(f"The photos are in {_shown(below)}: there is nothing else in {_shown(given.name)}.")
    if layout.label_from != FOLDER:
        sentences.append(f"The label of {_shown(example)} is {_shown(label)}, by this pattern.")
    return " ".join(sentences)


def _shown(text: str) -> str:
    return repr(text.encode(errors="replace").decode())


def _refuse_archive(path: Path) -> None:
    """Raise DataError that says how to unpack an archive, where the path is one."""
    module = ARCHIVES.get(path.suffix.lower())
    if module is None or not path.is_file():
        return
    target = path.name.partition(".")[0] or "photos"
    raise DataError(
        f"{path}: an archive, expected a folder. Unpack it, then take the folder: python -m {module} -e "
        f"{shlex.quote(str(path))} {shlex.quote(target)} && tledge init {shlex.quote(target)}"
    )


def _real(root: Path) -> Path:
    return Path(os.path.realpath(root))  # Path.resolve would raise an error for a link to itself


def default_name(root: Path) -> str:
    """Make a recipe's name of the folder's: letters, digits, - and _; "photos" if none remains."""
    composed = unicodedata.normalize("NFC", _real(root).name)
    return re.sub(r"[^\w-]+", "-", composed).strip("-") or "photos"


def check_counts(root: Path, splits: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> None:
    """Raise DataError for splits or labels that no model can be trained on."""
    folder = roles_of(root, splits)["train"]
    if len(labels) < 2:
        raise DataError(f"{root}: only one label, {labels[0]!r}. Expected two or more, as {LAYOUTS}.")
    train = splits[folder]
    few = [f"{label!r} has {train.get(label, 0)}" for label in labels if train.get(label, 0) < FEWEST]
    if few:
        more = f" and {len(few) - 3} more labels" * (len(few) > 3)
        raise DataError(
            f"{root}: every label needs {FEWEST} photos or more in {folder}; {', '.join(few[:3])}{more}. Add "
            "photos, spell the label alike in every split, or remove its folder."
        )


def roles_of(root: Path, splits: Mapping[str, object]) -> dict[str, str]:
    """Return the split folders by role; raise DataError for an unknown name, two of a role, or no train."""
    known = "; ".join(", ".join(names) for names in ROLES.values())
    roles: dict[str, str] = {}
    for name in splits:
        role = role_of(name)
        if not role:
            raise DataError(f"{root}: unknown split {name!r}. Known: {known}. Expected {LAYOUTS}.")
        if role in roles:
            raise DataError(f"{root}: {roles[role]!r} and {name!r} both mean {role}. Keep one of them.")
        roles[role] = name
    if "train" not in roles:
        raise DataError(f"{root}: no train folder among {', '.join(splits)}. Known splits: {known}.")
    return {role: roles[role] for role in ROLES if role in roles}


def _headers(root: Path, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the short sides of the photos, and "name: reason" of those that cannot be read."""
    with ThreadPoolExecutor(processors.usable()) as pool:
        sides = list(pool.map(_short_side, (root / name for name in names)))
    unreadable = [f"{name}: {side}" for name, side in zip(names, sides, strict=True) if isinstance(side, str)]
    return [side for side in sides if isinstance(side, int)], unreadable


def _short_side(path: Path) -> int | str:
    """Return the short side in pixels, or why the photo cannot be read."""
    from PIL import Image

    heif = ("HEIF",) if "HEIF" in Image.OPEN else ()  # from the first HEIC photo on
    try:
        with path.open("rb") as file, pillow_warnings_ignored():
            image = open_image(file, (*FORMATS, *heif))
            if image.width * image.height <= preprocessing_image.MAX_PIXELS:
                return min(image.size)
    except Exception:  # damaged headers raise all kinds of errors; `preprocess_with_facts` says what is wrong
        pass
    try:
        facts = preprocessing_image.preprocess_with_facts(preprocessing_image.read_photo(path), (1, 1))[1]
        return min(facts.width, facts.height)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (DataError, MissingError) as error:
        return str(error).partition(": ")[2].rstrip(".")
