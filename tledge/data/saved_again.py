"""Decide which of two images repeats the other: one photo, saved again, perhaps turned or mirrored.

Pairs are compared in four steps, each more expensive and sharper, many pairs at once:

    1. averages of 4 x 4 boxes of the thumbnails of step 2, in each of the eight turns
    2. thumbnails of 16 x 16
    3. parts of the thumbnails of step 4, by matrix products, where a fixed camera took many that are close
    4. thumbnails of 64 x 64

`COARSE` holds the tolerance of steps 1 and 2 (averaging never moves two images apart), `FINE` that of steps
3 and 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeVar

from tledge.data.streaming import Images
from tledge.data.thumbnails import shrink, shrink_all
from tledge.progress import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int64]
    Number = TypeVar("Number", np.uint8, np.float32)

TURNS = 8
"""Rotations and mirrorings of a square image; turn 0 leaves it as it is."""


@dataclass(frozen=True)
class Stage:
    """One comparison: the side of its thumbnails, and the difference that it tolerates, in grey levels RMS.

    The tolerance is `share` of the image's own detail (see `_slopes`), so that plain images must be nearly
    equal, but at least `least` and at most `most`.
    """

    side: int
    share: float
    least: float
    most: float

    def limit(self, detail: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the tolerated difference for images of so much detail."""
        return (self.share * detail).clip(self.least).clip(max=self.most)


# Flowers, leaves and hands saved again at half the size and JPEG quality 75 reach 3.4 levels and 0.19 of the
# detail at 16 x 16, 0.41 at 64 x 64; different ones are 18 levels apart. Rounding alone changes a plain image
# by one level.
COARSE = Stage(side=16, share=0.25, least=1.0, most=4.0)
FINE = Stage(side=64, share=0.5, least=1.0, most=float("inf"))

BOX = 4
"""Side of the boxes of step 1, in pixels of the thumbnails of step 2."""

BOX_ROUNDING = 0.1
"""Error of a squared difference of step 1 in float32, at most."""

EVEN_BELOW = 2.0
"""Differences in grey levels RMS that are too small to ask how evenly they are spread."""

EVENNESS = 0.9
"""Evenness of a difference over that of the detail, at least.

99 in 100 images that were saved again reach 0.95, half of the close frames of a video 0.85.
"""

KEPT = 4096
"""Fine thumbnails held in memory at once, 50 MB."""

GRID = 8
"""Parts of a fine thumbnail along each side, at most."""

SPARSE = 8
"""Pairs of a block are compared one by one where they are fewer than this fraction of it."""

ROUNDING = 1e-6
"""Error of a squared difference of parts, at most, as a share of the largest squares."""


class ImagePairs:
    """Pairs among images[rows]; an image is named by its position in `rows`.

    `task` advances by one step for each image that is read.
    """

    def __init__(self, images: Images, rows: Rows, task: Task | None = None) -> None:
        import numpy as np

        self.coarse = shrink_all(images, rows, COARSE.side, task)
        detail = np.array([_rms(_slopes(thumbnail)) for thumbnail in self.coarse])
        self.limits = COARSE.limit(detail) ** 2
        """Squared difference at 16 x 16 that each image tolerates, as a mean over pixels."""
        self._images, self._rows = images, rows
        self._side = min(FINE.side, *images.shape[1:3])
        self._fine = lru_cache(KEPT)(self._shrunk)
        self._detail = np.full((TURNS, len(rows), 2), np.nan)

    def likely(self, first: Rows, second: Rows, turn: int) -> NDArray[np.bool_]:
        """Return False for the pairs that steps 1 to 3 exclude; second[i] is turned."""
        import numpy as np

        likely = self._is_close(first, second, turn)
        chosen = np.flatnonzero(likely)
        if len(chosen):
            likely[chosen] = self._may_be_even(first[chosen], second[chosen], turn)
        return likely

    def _is_close(self, first: Rows, second: Rows, turn: int) -> NDArray[np.bool_]:
        """Compare first[i] with second[i], turned, by steps 1 and 2."""
        import numpy as np

        limits = np.minimum(self.limits[first], self.limits[second])
        close = self._box_distances(first, second, turn) < limits + BOX_ROUNDING
        chosen = np.flatnonzero(close)
        first, second = first[chosen], second[chosen]
        close[chosen] = _distances(self.coarse[first], turned(self.coarse[second], turn)) < limits[chosen]
        return close

    def _box_distances(self, first: Rows, second: Rows, turn: int) -> Floats:
        """Return the mean squared differences of step 1, by one matrix product."""
        import numpy as np

        ones, i = np.unique(first, return_inverse=True)
        others, j = np.unique(second, return_inverse=True)
        a, b = self._boxes[ones], turned(self._boxes[others], turn)
        a, b = (boxes.reshape(len(boxes), self._boxes[0].size) for boxes in (a, b))
        squares = [np.einsum("ij,ij->i", boxes, boxes) for boxes in (a, b)]
        distances: Floats = squares[0][:, None] - 2 * (a @ b.T) + squares[1]
        return distances[i, j] / np.float32(a.shape[1])

    @cached_property
    def _boxes(self) -> Floats:
        """Step 1: averages of boxes about the middle grey, float32[N, 4, 4, 3]."""
        import numpy as np

        side = COARSE.side // BOX
        boxes: Floats = self.coarse.reshape(-1, side, BOX, side, BOX, 3).mean((2, 4)) - np.float32(128)
        return boxes

    def _may_be_even(self, first: Rows, second: Rows, turn: int) -> NDArray[np.bool_]:
        """Return False for the pairs that are too different or too uneven in their parts.

        Within a part, a difference of some size is largest on average where it is the same everywhere. So
        parts bound the evenness from above.
        """
        import numpy as np

        ones, i = np.unique(first, return_inverse=True)
        others, j = np.unique(second, return_inverse=True)
        if len(first) * SPARSE < len(ones) * len(others):
            return np.ones(len(first), bool)
        a, b = self._parts(ones, 0), self._parts(others, turn)
        center = a.mean(1, keepdims=True)
        a, b = a - center, b - center
        squares = [np.einsum("pij,pij->pi", part, part) for part in (a, b)]
        sums = squares[0][:, :, None] + squares[1][:, None] - 2 * (a @ b.transpose(0, 2, 1))
        rounding = np.float32(ROUNDING * (squares[0].max() + squares[1].max()))
        parts = sums.clip(0) / np.float32(a.shape[2])
        least = np.sqrt((parts.mean(0) - rounding).clip(0))[i, j]
        mean = np.sqrt(parts + rounding).mean(0)[i, j]
        detail, mean_slope = self._details(first, second, turn)
        is_even = (least < EVEN_BELOW) | (mean * detail > (1 - 1e-4) * EVENNESS * mean_slope * least)
        may_be: NDArray[np.bool_] = (least <= FINE.limit(detail)) & is_even
        return may_be

    def _parts(self, rows: Rows, turn: int) -> Floats:
        """Return the fine thumbnails, turned, in up to 8 x 8 parts: float32[parts, M, values]."""
        import numpy as np

        grid = math.gcd(self._side, GRID)
        images = turned(np.stack([self._fine(row) for row in rows.tolist()]), turn)
        boxes = images.reshape(len(rows), grid, self._side // grid, grid, -1)
        return boxes.transpose(1, 3, 0, 2, 4).reshape(grid**2, len(rows), -1).astype(np.float32)

    def is_saved_again(self, first: Rows, second: Rows, turn: int) -> NDArray[np.bool_]:
        """Decide whether images differ only as by saving again: little, and everywhere alike.

        Saving again loses some of the detail wherever there is detail. Between two frames of a video the hand
        has moved and the rest has not, so the difference is less evenly spread than the detail. Evenness is
        mean / root mean square.
        """
        import numpy as np

        change = np.zeros((len(first), self._side**2), np.float32)
        ones, others = self._fine_planes(first, 0), self._fine_planes(second, turn)
        for channel in range(3):
            change += (ones[channel] - others[channel]) ** 2
        change = np.sqrt(change / np.float32(3))
        size = np.sqrt((change**2).mean(1))
        detail, mean_slope = self._details(first, second, turn)
        with np.errstate(divide="ignore", invalid="ignore"):  # no difference, no detail
            evenness = change.mean(1) / size
            wanted = np.float32(EVENNESS) * mean_slope.astype(np.float32) / detail.astype(np.float32)
        is_alike: NDArray[np.bool_] = (size <= FINE.limit(detail)) & (
            (size < EVEN_BELOW) | (evenness > wanted)
        )
        return is_alike

    def _details(
        self, first: Rows, second: Rows, turn: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return root mean square and mean of the detail of each pair's image with less of it."""
        import numpy as np

        ones, others = self._detail[0, first], self._detail[turn, second]
        for row in np.unique(first[np.isnan(ones[:, 0])]).tolist():
            self._detail[0, row] = self._detail_of(row, 0)
        for row in np.unique(second[np.isnan(others[:, 0])]).tolist():
            self._detail[turn, row] = self._detail_of(row, turn)
        ones, others = self._detail[0, first], self._detail[turn, second]
        detail, mean = np.where(ones[:, :1] <= others[:, :1], ones, others).T
        return detail, mean

    def _fine_planes(self, rows: Rows, turn: int) -> list[Floats]:
        """Return red, green and blue of the fine thumbnails of rows, turned: float32[M, S * S] each."""
        import numpy as np

        chosen, places = np.unique(rows, return_inverse=True)
        images = np.stack([self._fine(row) for row in chosen.tolist()])
        planes = np.moveaxis(turned(images, turn), -1, 0).reshape(3, len(chosen), -1).astype(np.float32)
        return [plane[places] for plane in planes]

    def _shrunk(self, row: int) -> NDArray[np.uint8]:
        """Return a fine thumbnail uint8[S, S, 3], whose values are integers."""
        import numpy as np

        return shrink(self._images[self._rows[row]], self._side).astype(np.uint8)

    def _detail_of(self, row: int, turn: int) -> tuple[float, float]:
        """Return the root mean square and the mean of the detail of a fine thumbnail, turned."""
        import numpy as np

        slopes = _slopes(np.ascontiguousarray(turned(self._fine(row)[None], turn)[0], np.float32))
        return _rms(slopes), float(slopes.mean())


def _distances(first: Floats, second: Floats) -> Floats:
    """Return the mean squared differences of first[i] and second[i]."""
    import numpy as np

    size = math.prod(first.shape[1:])
    differences = (first - second).reshape(len(first), size)
    distances: Floats = np.einsum("ij,ij->i", differences, differences) / np.float32(size)
    return distances


def _slopes(image: Floats) -> Floats:
    """Return the detail: RMS difference of [S, S, 3] to the right and lower neighbours, [S - 1, S - 1]."""
    import numpy as np

    down, across = np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1]
    slopes: Floats = np.sqrt((down**2 + across**2).mean(-1) / 2)
    return slopes


def _rms(values: Floats) -> float:
    """Return the root mean square."""
    import numpy as np

    return float(np.sqrt((values**2).mean()))


def turned(images: NDArray[Number], turn: int) -> NDArray[Number]:
    """Rotate and mirror [M, S, S, 3] in one of the eight ways."""
    import numpy as np

    return np.rot90(images[:, :, ::-1] if turn >= TURNS // 2 else images, turn, axes=(1, 2))


class AveragedOverTurns:
    """Images [N, S, S, 3] averaged over their turns, which no turn changes: points float32[N, S * S * 3]."""

    def __init__(self, images: Floats) -> None:
        self._images = images
        self.shape = (len(images), images[0].size)

    def __getitem__(self, rows: Rows) -> Floats:
        import numpy as np

        images = self._images[rows]
        averaged = np.mean(np.stack([turned(images, turn) for turn in range(TURNS)]), axis=0)
        points: Floats = averaged.reshape(len(rows), self.shape[1])
        return points
