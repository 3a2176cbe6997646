"""The index of close points: every pair that all comparisons find, and far fewer comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import all_pairs
from tledge.data import neighbours
from tledge.data.neighbours import Components, NeighbourIndex, project

Points = NDArray[np.float32]


class Counter:
    """A task that counts its steps."""

    steps = 0

    def advance(self, steps: int = 1, **_figures: object) -> None:
        self.steps += steps


def uneven(count: int, seed: int = 0, length: int = 64) -> Points:
    """Points that vary in some directions much more than in others, as thumbnails do."""
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.normal(size=(length, length)))
    scales = 100 / np.arange(1, length + 1)
    return np.asarray(rng.normal(size=(count, length)) * scales @ turned + 300, np.float32)


def pairs_of(points: Points, limit: float) -> set[tuple[int, int]]:
    """All pairs closer than `limit`, squared, by comparing all."""
    exact = points.astype(float)
    distances = ((exact[:, None] - exact[None]) ** 2).sum(-1)
    return {(low, high) for low, high in np.argwhere(distances < limit).tolist() if low < high}


def candidates_of(points: Points, limit: float) -> list[tuple[int, int]]:
    """Candidates of the index, the lower row first."""
    blocks = NeighbourIndex(points, limit).candidates(Counter())
    return [
        (min(pair), max(pair))
        for first, second in blocks
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]


@pytest.mark.parametrize("leaf", [4, 32, 256])
@pytest.mark.parametrize("radius", [1.0, 60.0, 150.0])
def test_no_close_pair_is_missed(leaf: int, radius: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "LEAF", leaf)
    monkeypatch.setattr(neighbours, "BLOCK", 2 * leaf)
    points = uneven(300)
    candidates = candidates_of(points, radius**2)
    assert len(candidates) == len(set(candidates))
    assert pairs_of(points, radius**2) <= set(candidates)


def test_pairs_just_within_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair is nearer than the limit by less than float32 resolves at that distance from zero."""
    monkeypatch.setattr(neighbours, "LEAF", 16)
    points = uneven(200)
    rng = np.random.default_rng(1)
    steps = rng.normal(size=points.shape)
    steps *= 16.0 / np.linalg.norm(steps, axis=1, keepdims=True)
    moved = np.concatenate([points, (points + steps).astype(np.float32)])
    limit = float(((moved[:200].astype(float) - moved[200:]) ** 2).sum(1).max()) * (1 + 1e-9)
    assert {(row, row + 200) for row in range(200)} <= set(candidates_of(moved, limit))


def test_few_points_are_compared() -> None:
    compared = 0
    index = NeighbourIndex(uneven(6000), 20.0**2)
    compare = index._compare

    def counting(own: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        nonlocal compared
        compared += len(own) * len(others)
        return compare(own, others)

    index._compare = counting  # type: ignore[assignment,method-assign]
    task = Counter()
    assert sum(len(first) for first, _ in index.candidates(task)) < 1000
    assert compared < 0.15 * 6000**2 / 2 and task.steps == 6000


def test_projection_moves_none_apart() -> None:
    points = uneven(400)
    projected = project(points)
    assert projected.shape == (400, neighbours.DIMENSIONS)
    whole, part = (((one[:200] - one[200:]) ** 2).sum(1) for one in (points, projected))
    assert (part <= whole * (1 + 1e-4)).all() and (part > 0.9 * whole).mean() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_components_of_random_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, 100, (60, 2))
    components = Components(100)
    for part in np.split(pairs, 4):
        components.join(part[:, 0], part[:, 1])
    expected = np.arange(100)
    for first, second in pairs.tolist():
        expected[expected == expected[second]] = expected[first]
    assert all_pairs.numbered(components.roots(np.arange(100))) == all_pairs.numbered(expected)
