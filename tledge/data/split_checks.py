"""Check that every label is in every split, and that no group keeps most photos of a label together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.config import Data
from tledge.data import splits
from tledge.data.cache import Prepared
from tledge.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = Mapping[str, NDArray[np.int64]]

LARGE = 0.5
"""Share of a label's photos in one group above which splits cannot divide the label as asked."""

FEWEST = 4
"""Photos of a label from which on its groups are looked at."""

ON_MISSING = 'on_missing_label = "continue"'
"""What lets training go on all the same."""

ALTERNATIVES = (
    'group = "none" where photos may be alike in several splits, as those of a fixed camera are; or a '
    "regular expression for what the names of one day or scene share, such as group = '^(.*)_'; or make "
    "folders train, validation and test with photos of different days"
)
"""What helps where near-duplicates keep a label together."""


@dataclass(frozen=True)
class LargeGroup:
    """The largest group of a label: `photos` of its `total` photos stay in one split, by the rule `group`."""

    label: str
    photos: int
    total: int
    group: str


def large_groups(prepared: Prepared, data: Data) -> tuple[LargeGroup, ...]:
    """Return the labels whose largest group holds more than `LARGE` of their photos."""
    import numpy as np

    if data.group == "none":
        return ()
    groups, labels = splits.group_numbers(prepared, data), prepared.label_indices
    parts = [part for _split, part in splits.parts(data.splits)]
    origins = {part.origin for part in parts if part.fraction is not None or part.count is not None}
    shared = np.array([row.split in origins for row in prepared.rows], bool)
    found = []
    for number, label in enumerate(prepared.labels):
        sizes = np.unique(groups[shared & (labels == number)], return_counts=True)[1]
        if sizes.sum() >= FEWEST and sizes.max() > LARGE * sizes.sum():
            found.append(LargeGroup(label, int(sizes.max()), int(sizes.sum()), data.group))
    return tuple(found)


def describe(large: LargeGroup) -> str:
    """Say which photos stay together, and which choice of the recipe mends it."""
    return (
        f"[data] group = {large.group!r} keeps {large.photos} of the {large.total} photos of {large.label} "
        f"in one split. {advice([large])}"
    )


def advice(large: Sequence[LargeGroup]) -> str:
    """Say what puts photos of a label into every split, by the group rule that keeps its photos together."""
    if large and large[0].group == "near-duplicates":
        return f"Set [data] {ALTERNATIVES}."
    if large:
        return 'Let the expression of [data] group tell more groups apart, or set group = "none".'
    return "Add photos of it to that split, or let [data.splits] take a larger share."


def describe_stop(data: Data, large: Sequence[LargeGroup]) -> str:
    """Say whether training stops where a split has no photo of a label, and what puts one there."""
    if data.on_missing_label == "continue":
        return '[data] on_missing_label = "continue": training goes on without these labels in a score'
    helps = "" if large else f" {advice(())}"
    return f"`tledge train` stops where a split lacks a label, unless [data] {ON_MISSING}.{helps}"


def missing(prepared: Prepared, rows: Rows) -> list[tuple[str, str]]:
    """Return split and label where a split has no photo of a label that other photos have."""
    counts = splits.counts(prepared, rows)
    used = {row.label for row in prepared.rows}
    return [
        (split, label)
        for split, part in counts.items()
        for label, count in part.items()
        if not count and label in used
    ]


def require_every_label(prepared: Prepared, rows: Rows, data: Data) -> None:
    """Raise DataError where validation or test have no photo of a label, unless the recipe allows that."""
    lacking = missing(prepared, rows)
    if not lacking or data.on_missing_label == "continue":
        return
    labels = [label for _split, label in lacking]
    large = [group for group in large_groups(prepared, data) if group.label in labels]
    named = "; ".join(f"{split} has no photo of {label}" for split, label in lacking[:3])
    more = f"; and {len(lacking) - 3} more" * (len(lacking) > 3)
    raise DataError(
        f"[data.splits] {named}{more}, so the score would say nothing about it. "
        f"{describe(large[0]) if large else advice(large)} To train all the same, set [data] {ON_MISSING}."
    )
