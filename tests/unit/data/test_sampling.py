"""Which photos are picked: class by class in turn, the same for a seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from tledge.data import sampling
from tledge.data.cache import Prepared
from tledge.data.cache_index import Row


def prepared(counts: dict[tuple[str, str], int], folder: Path = Path("none")) -> Prepared:
    """A cache with so many images of each (split, label), no pixels behind it."""
    rows = [
        Row(f"{split}/{label}/{index}", label, split, "", f"{label}{index}" if index < 6 else "")
        for (split, label), count in counts.items()
        for index in range(count)
    ]
    return Prepared(folder, tuple(sorted({row.label for row in rows})), tuple(rows), ())


def test_originals_picked_in_turn() -> None:
    cache = prepared({("test", "cat"): 10, ("test", "dog"): 2, ("test", "emu"): 4})
    picked = sampling.pick_originals(cache, np.arange(16), 8)
    assert [cache.rows[row].label for row in picked] == ["cat", "dog", "emu"] * 2 + ["cat", "emu"]
    assert len(set(picked)) == 8


def test_only_kept_originals_picked() -> None:
    cache = prepared({("test", "cat"): 10, ("test", "dog"): 2})
    assert len(sampling.pick_originals(cache, np.arange(12), 100)) == 8
    assert sampling.pick_originals(cache, np.arange(6, 10), 100) == []
    assert sampling.pick_originals(cache, np.arange(12), 0) == []


def test_classes_take_turns() -> None:
    labels = np.array([0] * 90 + [1] * 8 + [2] * 2)
    chosen = sampling.by_class_in_turn(labels, 20, seed=0)
    assert Counter(labels[chosen].tolist()) == {0: 10, 1: 8, 2: 2}
    assert (np.diff(chosen) > 0).all()


def test_turns_are_balanced_and_seeded() -> None:
    labels = np.arange(300) % 3
    first, again, other = (sampling.by_class_in_turn(labels, 31, seed) for seed in (1, 1, 2))
    assert sorted(Counter(labels[first].tolist()).values()) == [10, 10, 11]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_turns_end_with_the_images() -> None:
    assert sampling.by_class_in_turn(np.array([0, 1, 1]), 10, seed=0).tolist() == [0, 1, 2]
    assert sampling.by_class_in_turn(np.array([], np.int64), 10, seed=0).tolist() == []
