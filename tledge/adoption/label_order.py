"""Read labels for a model's outputs, and notice an order that does not fit the photos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log
from typing import TYPE_CHECKING

from tledge.contract import parse_labels
from tledge.errors import RecipeError
from tledge.metrics.statistics import mcnemar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_P = 0.001
"""Largest corrected p at which another order of the labels fits beyond doubt."""

SHOWN = 20
"""Labels that a message lists."""


def read(text: str) -> tuple[str, ...]:
    """Return the labels of a text file, one a line, without the numbers in front that some have."""
    lines = parse_labels(text.replace("\r\n", "\n").removeprefix("\ufeff"))
    numbered = [re.fullmatch(r"(\d+)[ \t:,]+(.+)", line) for line in lines]
    if all(match and int(match[1]) == number for number, match in enumerate(numbered)):
        return tuple(match[2].strip() for match in numbered if match)
    return tuple(line.strip() for line in lines)


def require_count(labels: Sequence[str], classes: int, where: str) -> None:
    """Raise RecipeError where a model has another number of outputs than there are labels."""
    if len(labels) == classes:
        return
    shown = ", ".join(labels[:SHOWN]) + (" …" if len(labels) > SHOWN else "")
    count = abs(len(labels) - classes)
    what = f"{count} label{'s' * (count > 1)} too {'few' if len(labels) < classes else 'many'}"
    raise RecipeError(
        f"{where}: {what}. The model has {classes} outputs, and these are {len(labels)} labels: {shown}. "
        "List a label for each output, in their order, one a line: --labels FILE"
    )


@dataclass(frozen=True)
class OtherOrder:
    """An order of the labels that fits predictions far better, and the right predictions with both."""

    labels: tuple[str, ...]
    right: int
    right_before: int
    images: int

    def message(self, where: str) -> str:
        """Return the message that names the order that fits."""
        shown = ", ".join(self.labels[:SHOWN]) + (" …" if len(self.labels) > SHOWN else "")
        return (
            f"{where}: the labels are in another order than the model's outputs. In this order the model is "
            f"right on {self.right_before / self.images:.1%} of {self.images} photos, in the order {shown} "
            f"on {self.right / self.images:.1%}. Write the labels in that order, one a line: --labels FILE"
        )


def find_better(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], names: Sequence[str], tried: int = 1
) -> OtherOrder | None:
    """Return the order of the labels that fits the predictions better beyond doubt; None where none does.

    The exact McNemar test compares the predictions in both orders; its p is multiplied by the number of
    orders that move as many labels, and by `tried` (Bonferroni).

    Args:
        labels: The classes int64[N] of photos, in the given order.
        predicted: The predicted outputs int64[N].
        names: The labels in the given order.
        tried: The number of models or scalings that were tried in the same way.
    """
    import numpy as np

    count = len(names)
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (predicted, labels), 1)
    label_of = best_assignment(table)
    before, after = predicted == labels, label_of[predicted] == labels
    regressions, fixes = int((before & ~after).sum()), int((after & ~before).sum())
    moved = int((label_of != np.arange(count)).sum())
    if fixes <= regressions:
        return None
    orders = lgamma(count + 1) - lgamma(count - moved + 1)
    if log(max(mcnemar(regressions, fixes), 1e-300)) + orders + log(tried) > log(MAX_P):
        return None
    order = tuple(names[int(label)] for label in label_of)
    return OtherOrder(order, int(after.sum()), int(before.sum()), len(labels))


def best_assignment(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Assign each row of a square table its own column so that the sum is largest.

    The Hungarian method with potentials (Kuhn 1955, in the form of Jonker and Volgenant 1987), O(n³). Where
    equally good, a row keeps the column of its own number.
    """
    import numpy as np

    count = len(table)
    cost = -(table * (count + 1) + np.eye(count, dtype=np.int64)).astype(np.float64)
    row_of = np.full(count + 1, -1)
    rows, columns = np.zeros(count), np.zeros(count + 1)
    for row in range(count):
        row_of[count] = row
        way, used, least = np.full(count, count), np.zeros(count + 1, bool), np.full(count, np.inf)
        at = count
        while row_of[at] != -1:
            used[at] = True
            free = ~used[:count]
            reduced = cost[row_of[at]] - rows[row_of[at]] - columns[:count]
            better = free & (reduced < least)
            least[better], way[better] = reduced[better], at
            following = int(np.where(free, least, np.inf).argmin())
            step = least[following]
            rows[row_of[used]] += step
            columns[used] -= step
            least[free] -= step
            at = following
        while at != count:
            row_of[at] = row_of[way[at]]
            at = int(way[at])
    assigned = np.empty(count, np.int64)
    assigned[row_of[:count]] = np.arange(count)
    return assigned
