"""Near-duplicate groups and duplicates as a comparison of every image with every other finds them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tledge.data.near_duplicates import _limit
from tledge.data.thumbnails import box_means, shrink

Floats = NDArray[np.float32]


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


def duplicates(images: NDArray[np.uint8]) -> Iterator[tuple[int, int, str]]:
    """The first image that each one repeats, itself, and how: one pair after another, step by step."""
    coarse = [shrink(image, 16) for image in images]
    limits = [min(max(0.25 * rms(slopes(image)), 1.0), 4.0) ** 2 for image in coarse]
    fine = [shrink(image, min(64, *images.shape[1:3])) for image in images]
    for second in range(len(images)):
        for first in range(second):
            limit = min(limits[first], limits[second])
            turns = (
                turn
                for turn in range(8)
                if ((turned(coarse[second], turn) - coarse[first]) ** 2).mean() < limit
                and is_saved_again(fine[first], turned(fine[second], turn))
            )
            if (turn := next(turns, None)) is not None:
                yield first, second, "turned or mirrored" if turn else "same picture"
                break


def is_saved_again(first: Floats, second: Floats) -> bool:
    """Whether two fine thumbnails differ little, and everywhere alike."""
    change = np.sqrt(((first - second) ** 2).mean(-1))
    size = rms(change)
    least = min(slopes(first), slopes(second), key=rms)
    if size > max(0.5 * rms(least), 1.0):
        return False
    return size < 2 or bool(change.mean() / size > 0.9 * least.mean() / rms(least))


def slopes(image: Floats) -> Floats:
    """Differences to the right and lower neighbours, RMS over both and the channels."""
    down, across = np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1]
    return np.asarray(np.sqrt((down**2 + across**2).mean(-1) / 2))


def rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean()))


def turned(image: Floats, turn: int) -> Floats:
    return np.rot90(image[:, ::-1] if turn > 3 else image, turn)
