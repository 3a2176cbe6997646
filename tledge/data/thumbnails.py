"""Small versions of prepared images, and the distances between them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from tledge.data.streaming import Images, in_batches
from tledge.preprocessing.image import preprocess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 64
"""Images read at once."""

BLOCK = 256
"""Rows whose distances to all others are in memory at once."""


def box_means(images: Images, side: int) -> NDArray[np.float32]:
    """Average boxes of uint8[N, H, W, 3] to float32[N, side * side * 3].

    Where `side` does not divide the image's side, boxes differ by a pixel, so that a turned image does not
    give the same thumbnail, turned. `shrink` does, and takes longer.
    """
    import numpy as np

    count, height, width, channels = images.shape
    rows, columns = (np.arange(side) * length // side for length in (height, width))
    area = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[None, :, :, None]
    thumbnails = np.empty((count, side * side * channels), np.float32)
    for number, batch in enumerate(in_batches(images, np.arange(count), BATCH)):
        block: NDArray[np.float32] = batch.astype(np.float32)
        means = np.add.reduceat(np.add.reduceat(block, rows, axis=1), columns, axis=2) / area
        thumbnails[number * BATCH :][: len(means)] = means.reshape(len(means), -1)
    return thumbnails


def shrink_all(images: Images, rows: NDArray[np.int64], side: int) -> NDArray[np.float32]:
    """Shrink images[rows] to float32[N, side, side, 3]."""
    import numpy as np

    thumbnails = np.empty((len(rows), side, side, 3), np.float32)
    for number, image in enumerate(chain.from_iterable(in_batches(images, rows, BATCH))):
        thumbnails[number] = shrink(image, side)
    return thumbnails


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Resize uint8[H, W, 3] to float32[side, side, 3]; a turned image shrinks to the same, turned."""
    return preprocess(image, (side, side)).astype("float32")


def squared_distances(points: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield every row's number and its squared distances float32[N] to all rows of float32[N, D]."""
    import numpy as np

    squares = np.einsum("ij,ij->i", points, points)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        block = squares[part, None] + squares - 2.0 * (points[part] @ points.T)
        yield from enumerate(block, start)
