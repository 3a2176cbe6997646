"""Choose which prepared images are train, validation and test: disjoint rows, the same for a seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tledge.config import Data, SplitPart, Splits
from tledge.data.cache import Prepared
from tledge.data.near_duplicates import groups_of
from tledge.data.sources.split_names import role_of
from tledge.errors import DataError
from tledge.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

SPLITS = ("train", "validation", "test")


def require_labels(prepared: Prepared) -> None:
    """Raise DataError where all photos have the same label."""
    labels = {row.label for row in prepared.rows}
    if len(labels) < 2:
        raise DataError(
            f"[data] source: all photos have one label, {min(labels)!r}. "
            "Expected two labels or more: add photos of another class."
        )


def split(prepared: Prepared, data: Data, seed: int, progress: Progress = SILENT) -> dict[str, Rows]:
    """Return the row numbers of "train", "validation" and "test": disjoint, ascending, the same for a seed.

    Slices, patterns and files are taken first, then shares (by class and, with `group`, in whole
    groups), and complete source splits take what is left. Raises DataError for a source split that
    does not exist, for slices that overlap, and for a split that ends up empty.
    """
    import numpy as np

    groups = group_numbers(prepared, data, progress)
    free = np.ones(len(prepared.rows), bool)
    chosen: dict[str, list[Rows]] = {name: [] for name in SPLITS}
    for name, part in sorted(parts(data.splits), key=lambda pair: _rank(pair[1])):
        rows = _choose(prepared, name, part, groups, free, seed)
        chosen[name].append(rows)
        free[rows] = False
    split_rows = {name: np.sort(np.concatenate(parts)) for name, parts in chosen.items()}
    _require_photos(prepared, split_rows, data.group)
    return split_rows


def parts(splits: Splits) -> list[tuple[str, SplitPart]]:
    """Return every part of every split, with the split's name."""
    first_parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return [(name, part) for name, first in first_parts.items() for part in (first, *first.also)]


def _rank(part: SplitPart) -> int:
    """Return the order of choosing: a part that says exactly which photos it wants comes first."""
    if part.fraction is not None or part.count is not None:
        return 1
    return 0 if part.is_slice or part.files or part.pattern else 2


def _require_photos(prepared: Prepared, split_rows: Mapping[str, Rows], group: str) -> None:
    together = "" if group == "none" else f" With [data] group = {group!r} too many of them stay together."
    for name, rows in split_rows.items():
        if not len(rows):
            raise DataError(
                f"[data.splits] {name}: no photo is left for this split. Make the other splits smaller, "
                f"or add photos.{together}"
            )
    train_labels = set(prepared.label_indices[split_rows["train"]].tolist())
    used = set(prepared.label_indices.tolist())  # without labels that are listed, but that no photo has
    missing = [label for number, label in enumerate(prepared.labels) if number in used - train_labels]
    if missing:
        others = "" if group == "none" else " that do not stay together with the others"
        raise DataError(
            f"[data.splits] train: no photo of {', '.join(missing)} is left for it. Use smaller shares for "
            f"the other splits, or add photos{others}."
        )


def _choose(
    prepared: Prepared, name: str, part: SplitPart, groups: Rows, free: NDArray[np.bool_], seed: int
) -> Rows:
    """Choose the rows of one part of a split among the free ones."""
    candidates = _slice(_origin_rows(prepared, name, part), name, part)
    if part.files is not None:
        return _choose_files(prepared, candidates[free[candidates]], name, part.files, candidates, seed)
    if part.pattern is not None:
        return _require_free(_matching(prepared, candidates, name, part.pattern), name, free)
    if part.fraction is not None or part.count is not None:
        return _choose_share(prepared, name, candidates, free[candidates], groups, part, seed)
    return _require_free(candidates, name, free) if part.is_slice else candidates[free[candidates]]


def _origin_rows(prepared: Prepared, name: str, part: SplitPart) -> Rows:
    """Return all rows of a source split, in the source's order."""
    import numpy as np

    rows = [number for number, row in enumerate(prepared.rows) if row.split == part.origin]
    if not rows:
        existing = sorted({row.split for row in prepared.rows})
        more = f" and {len(existing) - 20} more" * (len(existing) > 20)
        raise DataError(
            f"[data.splits] {name}: the source has no split {part.origin!r}. It has "
            f"{', '.join(existing[:20])}{more}.{_layout_hint(prepared, existing)}"
        )
    return np.array(rows, np.int64)


def _layout_hint(prepared: Prepared, existing: Sequence[str]) -> str:
    """Say what folders may be that were taken for splits, and are named like none; "" for other sources."""
    row = prepared.rows[0]
    if row.id.count("/") != 2 or not row.id.startswith(f"{row.split}/{row.label}/"):
        return ""
    if any(map(role_of, existing)):
        return ""
    if len(existing) == 1:
        return f" If {existing[0]!r} only holds the folders of labels, add it to the path in [data] source."
    return (
        " If these folders are the labels, and those inside are parts of them, set [data] label_from = "
        '"path:{label}/*/*".'
    )


def _slice(rows: Rows, name: str, part: SplitPart) -> Rows:
    """Take a slice as TensorFlow Datasets does: percents are rounded to the closest image."""

    def position(text: str) -> int | None:
        if not text:
            return None
        number = round(int(text[:-1]) * len(rows) / 100) if text.endswith("%") else int(text)
        if abs(number) > len(rows):
            raise DataError(
                f"[data.splits] {name}: {text} is beyond the {len(rows)} photos of {part.origin}."
            )
        return number

    return rows[position(part.start) : position(part.stop)]


def _matching(prepared: Prepared, rows: Rows, name: str, pattern: str) -> Rows:
    """Return the rows whose id matches the glob; raises DataError where none does."""
    import numpy as np

    matches = np.array([fnmatchcase(prepared.rows[row].id, pattern) for row in rows.tolist()], bool)
    if not matches.any():
        example = prepared.rows[int(rows[0])].id
        raise DataError(
            f"[data.splits] {name}: no id matches the pattern {pattern!r}; ids look like {example!r}."
        )
    matching: Rows = rows[matches]
    return matching


def _require_free(rows: Rows, name: str, free: NDArray[np.bool_]) -> Rows:
    """Return the rows; raises DataError where another part has some of them."""
    used = int((~free[rows]).sum())
    if used:
        raise DataError(
            f"[data.splits] {name}: {used} of its photos are already in another part: two parts overlap."
        )
    return rows


def _choose_files(
    prepared: Prepared, rows: Rows, name: str, fraction: float, candidates: Rows, seed: int
) -> Rows:
    """Choose the rows of a share of the files, rounded down, at least one; files in a seeded order."""
    import numpy as np

    files = sorted({prepared.rows[row].file for row in candidates.tolist()} - {""})
    free = {prepared.rows[row].file for row in rows.tolist()}
    order = np.random.default_rng([seed, len(files)]).permutation(len(files))
    files_left = [files[number] for number in order.tolist() if files[number] in free]
    count = max(1, int(round(len(files) * fraction, 6)))  # .29 of 100 is 29, and 28.99... in binary
    if len(files_left) <= count:
        raise DataError(
            f"[data.splits] {name}: the photos are in {len(files)} files of many photos each, too few to "
            f"take {fraction:g} of them. Use a fraction of the photos instead."
        )
    chosen = set(files_left[:count])
    return np.array([row for row in rows.tolist() if prepared.rows[row].file in chosen], np.int64)


def group_numbers(prepared: Prepared, data: Data, progress: Progress = SILENT) -> Rows:
    """Return the group number of every row; a group stays in one split."""
    import numpy as np

    if data.group == "none":
        return np.arange(len(prepared.rows))
    if data.group == "near-duplicates":
        return groups_of(prepared, progress)
    return _groups_by_id(prepared, re.compile(data.group), {part.origin for _, part in parts(data.splits)})


def _groups_by_id(prepared: Prepared, pattern: re.Pattern[str], origins: set[str]) -> Rows:
    """Group the rows whose ids have the same text in the pattern's group."""
    import numpy as np

    matches = [pattern.search(row.id) for row in prepared.rows]
    keys = [match[1] if match else None for match in matches]
    unmatched = [
        row.id for row, key in zip(prepared.rows, keys, strict=True) if key is None and row.split in origins
    ]
    if unmatched:
        raise DataError(
            f"[data] group: {pattern.pattern!r} does not match {len(unmatched)} ids, "
            f"such as {unmatched[0]!r}."
        )
    return np.unique([str(key) for key in keys], return_inverse=True)[1].reshape(-1).astype(np.int64)


def _choose_share(
    prepared: Prepared,
    name: str,
    origin: Rows,
    free: NDArray[np.bool_],
    groups: Rows,
    part: SplitPart,
    seed: int,
) -> Rows:
    """Choose free rows of about the wanted number of every class, in complete groups.

    Raises DataError where other splits left too few.
    """
    import numpy as np

    candidates = origin[free]
    labels, names = _labels_by_name(prepared)
    goals = _goals(labels[origin], len(names), name, part)
    short = goals - np.bincount(labels[candidates], minlength=len(goals))
    if (short >= 1).any():
        worst = int(short.argmax())
        raise DataError(
            f"[data.splits] {name}: asks for {goals[worst]:g} photos of {names[worst]}, "
            f"{goals[worst] - short[worst]:g} are left."
        )
    chosen = _choose_groups(groups[candidates], labels[candidates], goals, seed)
    return candidates[np.isin(groups[candidates], chosen)]


def _labels_by_name(prepared: Prepared) -> tuple[Rows, list[str]]:
    """Return the position int64[N] of each row's label in the sorted names, and these names.

    Another order of the classes does not change a split.
    """
    import numpy as np

    names = sorted(prepared.labels)
    position = {name: number for number, name in enumerate(names)}
    return np.array([position[label] for label in prepared.labels], np.int64)[prepared.label_indices], names


def _goals(labels: NDArray[np.int64], classes: int, name: str, part: SplitPart) -> NDArray[np.float64]:
    """Return the wanted images of each class; a count is distributed by largest remainder."""
    import numpy as np

    sizes = np.bincount(labels, minlength=classes)
    if part.fraction is not None:
        return np.asarray(part.fraction * sizes, np.float64)
    count = part.count or 0
    if count > len(labels):
        raise DataError(f"[data.splits] {name}: asks for {count} photos, {part.origin} has {len(labels)}.")
    exact = count * sizes / len(labels)
    goals = np.asarray(np.floor(exact), np.float64)
    largest = np.argsort(-(exact - goals), kind="stable")[: count - int(goals.sum())]
    goals[largest] += 1
    return goals


def _choose_groups(
    groups: Rows, labels: NDArray[np.int64], goals: NDArray[np.float64], seed: int
) -> list[int]:
    """Choose groups, in a seeded order, whose sizes by class add up to about the goals.

    With totals t, goals g and a group's sizes s, all by class, a group is chosen if it brings the
    totals closer to the goals: |t + s - g|^2 <= |t - g|^2. A class that would get nothing, though its goal
    is above 0, gets its last group where it has another one left to train on.
    """
    import numpy as np

    sizes: dict[int, Counter[int]] = {}
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        sizes.setdefault(group, Counter())[label] += 1
    totals = np.zeros(len(goals))
    chosen: set[int] = set()
    rng = np.random.default_rng([seed, len(groups)])
    for label in np.unique(labels).tolist():
        order = rng.permutation(np.unique(groups[labels == label])).tolist()
        for group in order:
            size = sizes[group]
            is_closer = _distance_change(size, totals, goals) <= 0
            is_last_chance = not totals[label] and goals[label] > 0 and group == order[-1] and len(order) > 1
            if group not in chosen and (is_closer or is_last_chance):
                chosen.add(group)
                for own, count in size.items():
                    totals[own] += count
    return sorted(chosen)


def _distance_change(
    size: Mapping[int, int], totals: NDArray[np.float64], goals: NDArray[np.float64]
) -> float:
    """Return |t + s - g|^2 - |t - g|^2 for a group's sizes by class; most groups have one class of many."""
    import numpy as np

    if len(size) == 1:
        ((label, count),) = size.items()
        return float(count * (2 * (totals[label] - goals[label]) + count))
    sizes = np.zeros(len(goals))
    sizes[list(size)] = list(size.values())
    return float((sizes * (2 * (totals - goals) + sizes)).sum())


def counts(prepared: Prepared, rows: Mapping[str, Rows]) -> dict[str, dict[str, int]]:
    """Count the images per split and label."""
    labels = [row.label for row in prepared.rows]
    return {
        name: dict.fromkeys(prepared.labels, 0) | Counter(labels[row] for row in chosen.tolist())
        for name, chosen in rows.items()
    }
