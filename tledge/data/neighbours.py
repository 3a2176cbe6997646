"""Find pairs of close points without comparing all of them.

Points are projected onto their main directions, which never moves two apart, and sorted into leaves: boxes of
neighbouring points. Only points near a leaf's box are compared with its points, by one matrix product in the
projection and, where that excludes little, another of all dimensions. The pairs are candidates: every pair
within the distance is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tledge.data.thumbnails import Thumbnails
from tledge.progress import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Points = NDArray[np.float32]
    Rows = NDArray[np.int64]

DIMENSIONS = 32
"""Dimensions of the projection; more cost more per pair, fewer let more distant pairs pass."""

SAMPLE = 4096
"""Points whose main directions serve all."""

LEAF = 256
"""Points of a leaf, at most."""

BLOCK = 4096
"""Points that are compared with a leaf at once."""

DENSE = 0.1
"""Share of a block's pairs from which on they are compared in all dimensions."""

ROUNDING = 1e-5
"""Error of a squared distance in float32, at most, as a share of the largest squared length."""


def project(points: Thumbnails) -> Points:
    """Project points float32[N, D] about their middle onto the directions in which they vary most.

    The directions are orthonormal, so that no pair is farther apart in the result, float32[N, M] with M at
    most `DIMENSIONS`. A few points keep all their dimensions.
    """
    import numpy as np

    count, length = points.shape
    sample = points[np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)]
    center = sample.mean(0)
    projected: Points
    if count <= LEAF or length <= DIMENSIONS:
        projected = points[np.arange(count)] - center
        return projected
    sample -= center
    directions = np.linalg.eigh(sample.T @ sample)[1][:, -DIMENSIONS:]
    parts = np.split(np.arange(count), range(BLOCK, count, BLOCK))
    projected = np.concatenate([(points[part] - center) @ directions for part in parts])
    return projected


class NeighbourIndex:
    """Points float32[N, D] in leaves, boxes with sides along their main directions.

    `limit` is the squared distance below which two points are a pair.
    """

    def __init__(self, thumbnails: Thumbnails, limit: float) -> None:
        import numpy as np

        points = project(thumbnails)
        self._thumbnails = thumbnails
        leaves = list(_leaves(points, np.arange(len(points))))
        self._starts = np.cumsum([0, *map(len, leaves)])
        self._rows = np.concatenate(leaves)
        self._points = np.ascontiguousarray(points[self._rows])
        self._squares = np.einsum("ij,ij->i", self._points, self._points)
        self._low = np.minimum.reduceat(self._points, self._starts[:-1])
        self._high = np.maximum.reduceat(self._points, self._starts[:-1])
        self._wanted, self._limit = limit, _loose(limit, self._squares)

    def candidates(
        self, task: Task, keep: Callable[[Rows, Rows], NDArray[np.bool_]] | None = None
    ) -> Iterator[tuple[Rows, Rows]]:
        """Yield blocks of pairs of rows, each pair once; `task` advances by the points that are done.

        Args:
            task: What reports the progress.
            keep: Called with the rows of a leaf and of points near it; returns which of the latter are still
                to be compared with the leaf. None compares all.
        """
        import numpy as np

        for leaf in range(len(self._low)):
            own = np.arange(self._starts[leaf], self._starts[leaf + 1])
            for near in self._near(leaf):
                others = near if keep is None else near[keep(self._rows[own], self._rows[near])]
                first, second = self._compare(own, others)
                yield self._rows[first], self._rows[second]
            task.advance(len(own))

    def _near(self, leaf: int) -> Iterator[Rows]:
        """Yield, in blocks, the leaf's own positions and those behind it that are near its box."""
        import numpy as np

        yield np.arange(self._starts[leaf], self._starts[leaf + 1])
        gaps = np.maximum(self._low[leaf + 1 :] - self._high[leaf], self._low[leaf] - self._high[leaf + 1 :])
        near = leaf + 1 + np.flatnonzero((np.maximum(gaps, 0) ** 2).sum(1) < self._limit)
        together = BLOCK // LEAF
        for number in range(0, len(near), together):
            spans = [np.arange(*self._starts[part : part + 2]) for part in near[number : number + together]]
            positions = np.concatenate(spans)
            inside = np.clip(self._points[positions], self._low[leaf], self._high[leaf])
            yield positions[((self._points[positions] - inside) ** 2).sum(1) < self._limit]

    def _compare(self, own: Rows, others: Rows) -> tuple[Rows, Rows]:
        """Return the pairs of positions, the first less than the second, that may be within the limit."""
        import numpy as np

        products = self._points[own] @ self._points[others].T
        near = self._squares[own, None] - 2 * products + self._squares[others] < self._limit
        if near.size and near.mean() > DENSE:
            near &= self._are_near(self._rows[own], self._rows[others])
        first, second = np.nonzero(near)
        ascending = own[first] < others[second]
        return own[first[ascending]], others[second[ascending]]

    def _are_near(self, own: Rows, others: Rows) -> NDArray[np.bool_]:
        """Compare points in all dimensions, about the middle of the first: bool[len(own), len(others)]."""
        import numpy as np

        one, other = self._thumbnails[own], self._thumbnails[others]
        center = one.mean(0)
        one, other = one - center, other - center
        squares = [np.einsum("ij,ij->i", points, points) for points in (one, other)]
        distances = squares[0][:, None] - 2 * (one @ other.T) + squares[1]
        near: NDArray[np.bool_] = distances < _loose(self._wanted, np.concatenate(squares))
        return near


def _loose(limit: float, squares: Points) -> float:
    """Return a limit that no distance below `limit` exceeds by rounding; `squares` are squared lengths."""
    return limit * 1.001 + ROUNDING * float(squares.max())


def _leaves(points: Points, rows: Rows) -> Iterator[Rows]:
    """Halve the points along the axis in which they vary most, until `LEAF` or fewer are left."""
    import numpy as np

    if len(rows) <= LEAF:
        yield rows
        return
    axis = int(points[rows].var(0).argmax())
    halves = rows[np.argpartition(points[rows, axis], len(rows) // 2)]
    yield from _leaves(points, halves[: len(rows) // 2])
    yield from _leaves(points, halves[len(rows) // 2 :])


class Components:
    """The connected components of rows 0 to `count` - 1, while pairs of them are joined."""

    def __init__(self, count: int) -> None:
        import numpy as np

        self._parents = np.arange(count)

    def roots(self, rows: Rows) -> Rows:
        """Return the least row of the component of each row."""
        import numpy as np

        found = self._parents[rows]
        while not np.array_equal(above := self._parents[found], found):
            found = above
        self._parents[rows] = found
        return found

    def join(self, first: Rows, second: Rows) -> None:
        """Join the components of first[i] and second[i]."""
        import numpy as np

        while len(first):
            one, other = self.roots(first), self.roots(second)
            apart = one != other
            first, second = first[apart], second[apart]
            lower, higher = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
            np.minimum.at(self._parents, higher, lower)
