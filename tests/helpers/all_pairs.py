"""Near-duplicate groups and duplicates as a comparison of every image with every other finds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tledge.data.near_duplicates import _limit
from tledge.data.thumbnails import box_means


def groups(images: NDArray[np.uint8]) -> list[int]:
    """Near-duplicate groups, numbered by first appearance."""
    thumbnails = box_means(images, 16)
    thumbnails -= thumbnails.mean(0)
    return connected(thumbnails, _limit(thumbnails))


def connected(points: NDArray[np.float32], limit: float) -> list[int]:
    """Components of the points whose pairs at a squared distance below `limit` are connected."""
    squares = (points**2).sum(1)
    components = np.arange(len(points))
    for number, point in enumerate(points):
        near = squares - 2 * (points @ point) + squares[number] < limit
        near[number] = True
        numbers = np.unique(components[near])
        components[np.isin(components, numbers)] = numbers[0]
    return numbered(components)


def numbered(components: NDArray[np.int64]) -> list[int]:
    """Number components from 0 in the order of their first rows."""
    numbers: dict[int, int] = {}
    return [numbers.setdefault(component, len(numbers)) for component in components.tolist()]
