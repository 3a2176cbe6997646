"""Which prepared images are train, validation and test: disjoint rows, the same for a seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tledge.config import Data, SplitPart, Splits
from tledge.data.cache import Prepared
from tledge.data.near_duplicates import groups_of
from tledge.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

SPLITS = ("train", "validation", "test")


def require_labels(prepared: Prepared) -> None:
    """Raise DataError where all photos have the same label."""
    if len(prepared.labels) < 2:
        raise DataError(
            f"[data] source: all photos have one label, {prepared.labels[0]!r}, and there is nothing to tell "
            "apart. Expected two labels or more: add photos of what it is not."
        )


def split(prepared: Prepared, data: Data, seed: int) -> dict[str, Rows]:
    """Row numbers of "train", "validation" and "test", disjoint, ascending, the same for a seed.

    Slices, patterns and files are taken first, then shares (by class and, with `group`, in whole
    groups), and whole source splits take what is left. Raises DataError for a source split that
    does not exist, for slices that overlap, and for a split that ends up empty.
    """
    import numpy as np

    groups = _groups(prepared, data)
    free = np.ones(len(prepared.rows), bool)
    made: dict[str, list[Rows]] = {name: [] for name in SPLITS}
    for name, take in sorted(_takes(data.splits), key=lambda pair: _rank(pair[1])):
        rows = _taken(prepared, name, take, groups, free, seed)
        made[name].append(rows)
        free[rows] = False
    done = {name: np.sort(np.concatenate(parts)) for name, parts in made.items()}
    _require_photos(prepared, done, data.group)
    return done


def _takes(splits: Splits) -> list[tuple[str, SplitPart]]:
    """Every part of every split, one by one, with the split's name."""
    whole = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return [(name, one) for name, take in whole.items() for one in (take, *take.also)]


def _rank(take: SplitPart) -> int:
    """Order of taking: what says exactly which photos it wants comes first."""
    if take.fraction is not None or take.count is not None:
        return 1
    return 0 if take.is_slice or take.files or take.pattern else 2


def _require_photos(prepared: Prepared, made: Mapping[str, Rows], group: str) -> None:
    together = "" if group == "none" else f" With [data] group = {group!r} too many of them stay together."
    for name, rows in made.items():
        if not len(rows):
            raise DataError(
                f"[data.splits] {name}: no photo is left for it. Take less for the others, or add photos."
                f"{together}"
            )
    found = set(prepared.label_indices[made["train"]].tolist())
    lacking = [label for number, label in enumerate(prepared.labels) if number not in found]
    if lacking:
        raise DataError(
            f"[data.splits] train: no photo of {', '.join(lacking)} is left for it. Take smaller shares for "
            "the others, or add photos that are no near-duplicates."
        )


def _taken(
    prepared: Prepared, name: str, take: SplitPart, groups: Rows, free: NDArray[np.bool_], seed: int
) -> Rows:
    """The rows of one part of a split, all of them free."""
    whole = _sliced(_origin(prepared, name, take), name, take)
    if take.files is not None:
        return _by_files(prepared, whole[free[whole]], name, take.files, whole, seed)
    if take.pattern is not None:
        return _all_free(_by_pattern(prepared, whole, name, take.pattern), name, free)
    if take.fraction is not None or take.count is not None:
        return _share(prepared, name, whole, free[whole], groups, take, seed)
    return _all_free(whole, name, free) if take.is_slice else whole[free[whole]]


def _origin(prepared: Prepared, name: str, take: SplitPart) -> Rows:
    """All rows of a source split, in the source's order."""
    import numpy as np

    rows = [number for number, row in enumerate(prepared.rows) if row.split == take.origin]
    if not rows:
        known = sorted({row.split for row in prepared.rows})
        raise DataError(
            f"[data.splits] {name}: the source has no split {take.origin!r}. It has {', '.join(known)}."
        )
    return np.array(rows, np.int64)


def _sliced(rows: Rows, name: str, take: SplitPart) -> Rows:
    """A slice as TensorFlow Datasets reads it: percents are rounded to the closest image."""

    def place(text: str) -> int | None:
        if not text:
            return None
        number = round(int(text[:-1]) * len(rows) / 100) if text.endswith("%") else int(text)
        if abs(number) > len(rows):
            raise DataError(
                f"[data.splits] {name}: {text} is beyond the {len(rows)} photos of {take.origin}."
            )
        return number

    return rows[place(take.start) : place(take.stop)]


def _by_pattern(prepared: Prepared, rows: Rows, name: str, pattern: str) -> Rows:
    """Rows whose id fits the glob; raises DataError where none does."""
    import numpy as np

    fits = np.array([fnmatchcase(prepared.rows[row].id, pattern) for row in rows.tolist()], bool)
    if not fits.any():
        example = prepared.rows[int(rows[0])].id
        raise DataError(
            f"[data.splits] {name}: no id fits the pattern {pattern!r}; ids look like {example!r}."
        )
    found: Rows = rows[fits]
    return found


def _all_free(rows: Rows, name: str, free: NDArray[np.bool_]) -> Rows:
    used = int((~free[rows]).sum())
    if used:
        raise DataError(f"[data.splits] {name}: {used} of its photos are taken already: two parts overlap.")
    return rows


def _by_files(prepared: Prepared, rows: Rows, name: str, fraction: float, whole: Rows, seed: int) -> Rows:
    """Rows of a share of the files, rounded down, at least one; files in a seeded order."""
    import numpy as np

    files = sorted({prepared.rows[row].file for row in whole.tolist()} - {""})
    free = {prepared.rows[row].file for row in rows.tolist()}
    order = np.random.default_rng([seed, len(files)]).permutation(len(files))
    left = [files[number] for number in order.tolist() if files[number] in free]
    count = max(1, int(round(len(files) * fraction, 6)))  # .29 of 100 is 29, and 28.99... in binary
    if len(left) <= count:
        raise DataError(
            f"[data.splits] {name}: the photos lie in {len(files)} files that hold many each, too few to "
            f"take {fraction:g} of them. Take a fraction of the photos instead."
        )
    chosen = set(left[:count])
    return np.array([row for row in rows.tolist() if prepared.rows[row].file in chosen], np.int64)


def _groups(prepared: Prepared, data: Data) -> Rows:
    """Group number of every row: what stays on one side of a split."""
    import numpy as np

    if data.group == "none":
        return np.arange(len(prepared.rows))
    if data.group == "near-duplicates":
        return groups_of(prepared)
    return _groups_by_id(prepared, re.compile(data.group), {take.origin for _, take in _takes(data.splits)})


def _groups_by_id(prepared: Prepared, pattern: re.Pattern[str], origins: set[str]) -> Rows:
    """Rows whose ids give the same text for the pattern's group belong together."""
    import numpy as np

    found = [pattern.search(row.id) for row in prepared.rows]
    keys = [match[1] if match else None for match in found]
    lacking = [
        row.id for row, key in zip(prepared.rows, keys, strict=True) if key is None and row.split in origins
    ]
    if lacking:
        raise DataError(
            f"[data] group: {pattern.pattern!r} finds nothing in {len(lacking)} ids, such as {lacking[0]!r}."
        )
    return np.unique([str(key) for key in keys], return_inverse=True)[1].reshape(-1).astype(np.int64)


def _share(
    prepared: Prepared,
    name: str,
    whole: Rows,
    free: NDArray[np.bool_],
    groups: Rows,
    take: SplitPart,
    seed: int,
) -> Rows:
    """The free rows of about the wanted number of every class, in whole groups.

    Raises DataError where other splits left too few.
    """
    import numpy as np

    candidates = whole[free]
    labels = prepared.label_indices
    goals = _goals(labels[whole], len(prepared.labels), name, take)
    short = goals - np.bincount(labels[candidates], minlength=len(goals))
    if (short >= 1).any():
        worst = int(short.argmax())
        raise DataError(
            f"[data.splits] {name}: asks for {goals[worst]:g} photos of {prepared.labels[worst]}, "
            f"{goals[worst] - short[worst]:g} are left."
        )
    taken = _fill_up(groups[candidates], labels[candidates], goals, seed)
    return candidates[np.isin(groups[candidates], taken)]


def _goals(labels: NDArray[np.int64], classes: int, name: str, take: SplitPart) -> NDArray[np.float64]:
    """Images wanted of each class; a count is handed out by largest remainder, to the last image."""
    import numpy as np

    sizes = np.bincount(labels, minlength=classes)
    if take.fraction is not None:
        return np.asarray(take.fraction * sizes, np.float64)
    count = take.count or 0
    if count > len(labels):
        raise DataError(f"[data.splits] {name}: asks for {count} photos, {take.origin} has {len(labels)}.")
    exact = count * sizes / len(labels)
    goals = np.asarray(np.floor(exact), np.float64)
    most = np.argsort(-(exact - goals), kind="stable")[: count - int(goals.sum())]
    goals[most] += 1
    return goals


def _fill_up(groups: Rows, labels: NDArray[np.int64], goals: NDArray[np.float64], seed: int) -> list[int]:
    """Groups, in a seeded order, whose sizes by class add up to about the goals.

    With totals t, goals g and a group's sizes s, all by class, a group is taken if it brings the
    totals closer to the goals: |t + s - g|^2 <= |t - g|^2. A class that ends up with nothing gets
    its last group, where it has another one left to train on.
    """
    import numpy as np

    sizes: dict[int, NDArray[np.float64]] = {}
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        sizes.setdefault(group, np.zeros(len(goals)))[label] += 1
    totals = np.zeros(len(goals))
    taken: set[int] = set()
    rng = np.random.default_rng([seed, len(groups)])
    for label in np.unique(labels).tolist():
        order = rng.permutation(np.unique(groups[labels == label])).tolist()
        for group in order:
            own = sizes[group]
            is_closer = (own * (2 * (totals - goals) + own)).sum() <= 0
            is_last_chance = not totals[label] and goals[label] >= 1 and group == order[-1] and len(order) > 1
            if group not in taken and (is_closer or is_last_chance):
                taken.add(group)
                totals += own
    return sorted(taken)


def counts(prepared: Prepared, rows: Mapping[str, Rows]) -> dict[str, dict[str, int]]:
    """Images per split and label."""
    labels = [row.label for row in prepared.rows]
    return {
        name: dict.fromkeys(prepared.labels, 0) | Counter(labels[row] for row in chosen.tolist())
        for name, chosen in rows.items()
    }
