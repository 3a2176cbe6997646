"""Find out where the photos of a folder tell their labels: in the names of folders, or in their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tledge.data.sources import label_patterns
from tledge.data.sources.split_names import role_of
from tledge.errors import DataError

CONTAINERS = frozenset((
    "images", "image", "imgs", "img", "photos", "pictures", "pics", "data", "dataset", "jpegimages", "raw",
    "files",
))  # fmt: skip
"""Names of folders, in lower case, that say nothing of what is in them."""

FEWEST = 4
"""Train photos that a label needs, so that some remain after validation and test are split off."""

PATTERNS = (
    "{label}.{number}", "{label}_{number}", "{label}-{number}", "{label} ({number})", "{label} {number}",
    "{label}{number}", "{number}_{label}", "{number}-{label}", "{number}.{label}", "{number} {label}",
    "*_{number}_{label}", "{label}.*", "{label}_*", "{label}-*", "*_{label}", "*-{label}", "*.{label}",
)  # fmt: skip
"""Patterns that are tried on the names of photos, the most definite first."""

FITTING = 0.9
"""Share of the photos, and of the labels, that a pattern has to suit."""

_PART = re.compile(
    r"(?:part|batch|fold|set|session|shard|chunk|group|seq|video|run|vol|day|p|v)?[\W_]*[\d\W_]+"
)
"""Names of folders that divide photos without saying what is on them: part1, batch_02, 2024-05-01."""

Parts = tuple[str, ...]
"""The names that lead to a photo from the folder."""


@dataclass(frozen=True)
class Layout:
    """The folder that the recipe names, and its `label_from`."""

    root: Path
    label_from: str = label_patterns.FOLDER


def find_layout(root: Path, photos: Sequence[Parts]) -> Layout:
    """Return the layout of the photos below `root`.

    A folder that holds nothing but one folder is passed through. Where no layout is recognized, it is
    the usual one, and reading it says what is wrong.

    Raises:
        DataError: Folders of labels and of something else cannot be told apart.
    """
    inner: list[str] = []
    below = list(photos)
    while _only_folder(below):
        inner.append(below[0][0])
        below = [parts[1:] for parts in below]
    home = root.joinpath(*inner)
    label_from = _label_from(home, below) if below else None
    return Layout(home, label_from) if label_from else Layout(root.joinpath(*inner[:-1]))


def _only_folder(photos: Sequence[Parts]) -> bool:
    """Tell whether all photos are in one folder, and it is not that of a split."""
    return bool(photos) and all(
        len(parts) > 1 and parts[0] == photos[0][0] and not role_of(parts[0]) for parts in photos
    )


def _label_from(root: Path, photos: Sequence[Parts]) -> str | None:
    depths = {len(parts) for parts in photos}
    folders = {parts[0] for parts in photos if len(parts) > 1}
    if 1 in depths:
        return _in_names(photos) if depths == {1} else None
    if all(role_of(name) or name.lower() in CONTAINERS for name in folders):
        return _in_splits(photos, depths)
    if any(map(role_of, folders)) or depths == {2}:
        return label_patterns.FOLDER
    if 2 in depths:
        return "path:{label}/**"
    return _nested(root, photos, "*" if depths == {3} else "**")


def _in_splits(photos: Sequence[Parts], depths: set[int]) -> str | None:
    """Return where the labels are if the outermost folders are splits, or say nothing."""
    inside: dict[str, set[str]] = {}
    for parts in photos:
        inside.setdefault(parts[0], set()).add(parts[1] if len(parts) > 2 else "")
    if all(len(names) == 1 and not any(map(_says_something, names)) for names in inside.values()):
        return _in_names(photos)
    if not all(map(role_of, inside)):
        return "path:*/{label}/**"
    if depths == {3}:
        return label_patterns.FOLDER
    unlabelled = {parts[0] for parts in photos if len(parts) == 2}
    if any(role_of(name) == "train" or inside[name] != {""} for name in unlabelled):
        return None
    return "path:{split}/{label}/**"


def _says_something(name: str) -> bool:
    return bool(name) and not role_of(name) and name.lower() not in CONTAINERS


def _nested(root: Path, photos: Sequence[Parts], end: str) -> str:
    """Return which of two levels of folders is the label; raises DataError where both could be."""
    inside: dict[str, set[str]] = {}
    for parts in photos:
        inside.setdefault(parts[0], set()).add(parts[1])
    outer, inner = set(inside), {name for names in inside.values() for name in names}
    first = sorted(outer)[0]
    if all(map(role_of, inner)) and end == "*":
        return "path:{label}/{split}/*"
    if all(map(role_of, inner)):
        raise DataError(
            f"{root}: {_listed(outer)} each hold splits, as data sets do. Did you mean {root / first}? If "
            "they are labels: --label-from 'path:{label}/{split}/**'."
        )
    are_shared = any(
        count > 1 for count in Counter(name for names in inside.values() for name in names).values()
    )
    outer_parts, inner_parts = (all(map(_is_part, names)) for names in (outer, inner))
    if outer_parts and not inner_parts:
        return f"path:*/{{label}}/{end}"
    if inner_parts or not are_shared:
        return f"path:{{label}}/*/{end}" if end == "*" else "path:{label}/**"
    raise DataError(
        f"{root}: {_listed(outer)} hold {_listed(inner)}, and both could be labels. Did you mean "
        f"{root / first}? Or say where the label is: --label-from 'path:*/{{label}}/{end}' or "
        f"'path:{{label}}/*/{end}'."
    )


def _is_part(name: str) -> bool:
    return bool(_PART.fullmatch(name.lower()))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)


def _in_names(photos: Sequence[Parts]) -> str | None:
    """Return the first pattern that finds labels in the names of photos; None without one.

    With a split for training, only its photos have to suit: those to test on often have no label.
    """
    of_train = [parts for parts in photos if len(parts) > 1 and role_of(parts[0]) == "train"]
    names = [label_patterns.without_ending(parts[-1]) for parts in of_train or photos]
    pattern = next((pattern for pattern in PATTERNS if _suits(pattern, names)), None)
    if pattern is None:
        return None
    are_splits = all(len(parts) == 1 or role_of(parts[0]) for parts in photos)
    return f"name:{pattern}" if are_splits else f"path:**/{pattern}"


def _suits(pattern: str, names: Sequence[str]) -> bool:
    """Tell whether a pattern finds labels that are words, and enough photos of each."""
    parsed = label_patterns.parse(f"name:{pattern}")
    assert parsed is not None
    found = Counter(place[1] for name in names if (place := parsed.match((name,))))
    if len(found) < 2 or found.total() < FITTING * len(names):
        return False
    good = [label for label, count in found.items() if count >= FEWEST and any(map(str.isalpha, label))]
    return len(good) >= FITTING * len(found)
