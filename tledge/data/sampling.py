"""Choose rows of a data set, taking the classes in turn."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tledge.data.cache import ORIGINALS, Prepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def pick_originals(prepared: Prepared, rows: NDArray[np.int64], count: int) -> list[int]:
    """Choose up to `count` of `rows` whose encoded photo was kept, taking the classes in turn."""
    by_label: dict[str, list[int]] = {label: [] for label in prepared.labels}
    for row in rows.tolist():
        if prepared.rows[row].original:
            by_label[prepared.rows[row].label].append(row)
    turns = zip(*(([*kept, *[-1] * ORIGINALS])[:ORIGINALS] for kept in by_label.values()), strict=True)
    return [row for turn in turns for row in turn if row >= 0][:count]


def by_class_in_turn(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Choose up to `count` positions in labels int64[N] by a seed, taking the classes in turn; ascending."""
    import numpy as np

    order = np.random.default_rng([seed, 7]).permutation(len(labels))
    chosen_of: Counter[int] = Counter()
    turns: list[tuple[int, int, int]] = []
    for position in order.tolist():
        turns.append((chosen_of[int(labels[position])], len(turns), position))
        chosen_of[int(labels[position])] += 1
    return np.array(sorted(position for _turn, _n, position in sorted(turns)[:count]), np.int64)
