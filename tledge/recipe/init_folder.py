"""Look at a folder of photos for `tledge init`: its layout, its labels, how many photos, and their sizes."""

from __future__ import annotations

import os
import random
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tledge._process import processors
from tledge.data.labels import ClassList, class_list
from tledge.data.sources import folder as source
from tledge.data.sources.base import Record
from tledge.errors import DataError, MissingError
from tledge.preprocessing import image as preprocessing_image
from tledge.preprocessing.file_formats import FORMATS
from tledge.preprocessing.pillow_open import open_image, pillow_warnings_ignored

ROLES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "holdout"),
}
"""Names of split folders; upper and lower case mean the same."""

LAYOUTS = "<split>/<label>/photo.jpg or <label>/photo.jpg"

FEWEST = 4
"""Train photos that a label needs, so that some remain after validation and test are split off."""

HEADERS = 5000
"""Photos whose headers are read; of a larger folder, a sample of this size."""


@dataclass(frozen=True)
class Folder:
    """A folder of photos: its layout, labels and counts.

    `layout` is "split/label" or "label", `splits` counts photos by split folder and label (one
    split "train" where there are no split folders, as the source calls it), the sides are short
    sides in pixels, `unreadable` are lines "name: reason" of the `headers` that were read, and `merged`
    describes spellings that are one label.
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


def look(root: Path) -> Folder:
    """Count the photos of a folder and read their headers (of a large folder, those of a sample).

    Raises:
        MissingError: There is no such folder.
        DataError: The layout is not one of `LAYOUTS`, there is a single label, or a label has fewer than
            `FEWEST` photos in train.
    """
    root = _real(root)
    if not root.is_dir():
        raise MissingError(f"{root}: no such folder. Expected a folder of photos, as {LAYOUTS}.")
    records = list(source.scan({"path": str(root)}).records())
    classes = _classes(root, records)
    labels, spellings = classes.names, classes.spellings
    counts = Counter((record.split, spellings.get(record.label, record.label)) for record in records)
    splits = {
        split: {label: counts[split, label] for label in labels if counts[split, label]}
        for split in sorted({record.split for record in records})
    }
    layout = "split/label" if records[0].id.count("/") == 2 else "label"
    _check(root, layout, splits, labels)
    names = [record.id for record in records]
    if len(names) > HEADERS:
        names = sorted(random.Random(0).sample(names, HEADERS))
    sides, unreadable = _headers(root, names)
    if not sides:
        raise DataError(f"{root}: none of {len(unreadable):,} photos can be read. {unreadable[0]}.")
    read = len(sides) + len(unreadable)
    median = int(statistics.median(sides))
    return Folder(root, layout, splits, labels, median, min(sides), read, tuple(unreadable), classes.merged)


def _classes(root: Path, records: Iterable[Record]) -> ClassList:
    try:
        return class_list(record.label for record in records)
    except DataError as error:
        raise DataError(f"{root}: {error}") from None


def _real(root: Path) -> Path:
    return Path(os.path.realpath(root))  # Path.resolve would raise an error for a link to itself


def default_name(root: Path) -> str:
    """Make a recipe's name of the folder's: letters, digits, - and _; "photos" if none remains."""
    composed = unicodedata.normalize("NFC", _real(root).name)
    return re.sub(r"[^\w-]+", "-", composed).strip("-") or "photos"


def _check(root: Path, layout: str, splits: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> None:
    if layout == "label" and all(map(_role, labels)):
        raise DataError(
            f"{root}: {', '.join(labels)}: split folders without label folders. Expected {LAYOUTS}."
        )
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


def _role(name: str) -> str:
    """Return "train", "validation" or "test" for a split folder's name, "" for any other."""
    return next((role for role, known in ROLES.items() if name.lower() in known), "")


def roles_of(root: Path, splits: Mapping[str, object]) -> dict[str, str]:
    """Return the split folders by role; raise DataError for an unknown name, two of a role, or no train."""
    known = "; ".join(", ".join(names) for names in ROLES.values())
    roles: dict[str, str] = {}
    for name in splits:
        role = _role(name)
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
