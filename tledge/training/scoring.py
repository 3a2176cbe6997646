"""What the scores of a training do not show by themselves: sets too odd, and answers too alike, to trust."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tledge.data import inspection
from tledge.data.inspection import Inventory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def of_training(
    found: Inventory,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    names: tuple[str, ...],
    epochs: int,
) -> tuple[str, ...]:
    """What to say beside the scores, a line each; mostly nothing.

    `labels` int64[N] and `probabilities` float32[N, classes] are those of the test split, `epochs` all
    that were trained.
    """
    return tuple(_lines(found, labels, probabilities.argmax(1), names, epochs))


def _lines(
    found: Inventory,
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    names: tuple[str, ...],
    epochs: int,
) -> Iterator[str]:
    if not epochs:
        yield "no epoch was trained: the weights are those that it began with"
    if (answers == answers[0]).all() and (labels != labels[0]).any():
        yield (
            f"it answers {names[answers[0]]} to every test photo, and tells no classes apart: its accuracy "
            "is that label's share"
        )
    yield from inspection.absent(found)
    twins = [one for one in found.duplicates if one.crosses_splits]
    if twins:
        one, more = twins[0], f" and {len(twins) - 1} pairs more" * (len(twins) > 1)
        yield (
            f"equal photos stand in two splits, {one.first} ({one.first_place}) and {one.second} "
            f"({one.second_place}){more}: the scores flatter"
        )
