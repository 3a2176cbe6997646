"""Near-duplicate photos, so that frames of one video stay on one side of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUPING = 1
"""Version of the grouping; raise it when the same images fall into other groups."""

SIDE = 16
LEVEL = 16.0
RELATIVE = 0.25


def near_duplicate_groups(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Group number int64[N] of prepared images uint8[N, H, W, 3], in order of first appearance.

    Two images are neighbours when their thumbnails (16 x 16 RGB box means, where small motion
    and noise vanish) differ by less than 16 grey levels RMS, and by less than a quarter of what
    two random images of the set differ by. Groups are the connected components: a slow video is
    one chain even where its ends look different. O(N^2) time in matrix products, O(N) memory.
    """
    import numpy as np

    thumbnails = _thumbnails(images)
    thumbnails -= thumbnails.mean(0)
    squares = np.einsum("ij,ij->i", thumbnails, thumbnails)
    limit = _limit(thumbnails)
    group = np.arange(len(images))
    for start in range(0, len(images), 256):
        part = slice(start, start + 256)
        distance = squares[part, None] + squares - 2.0 * (thumbnails[part] @ thumbnails.T)
        for number, near in enumerate(distance < limit, start):
            near[number] = True
            _merge(group, near)
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def _merge(group: NDArray[np.int64], near: NDArray[np.bool_]) -> None:
    import numpy as np

    seen = np.unique(group[near])
    if len(seen) > 1:
        group[np.isin(group, seen)] = seen[0]


def _thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np

    count, height, width, channels = images.shape
    rows, columns = (np.arange(SIDE) * side // SIDE for side in (height, width))
    area = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[None, :, :, None]
    made = np.empty((count, SIDE * SIDE * channels), np.float32)
    for start in range(0, count, 256):
        block: NDArray[np.float32] = images[start : start + 256].astype(np.float32)
        means = np.add.reduceat(np.add.reduceat(block, rows, axis=1), columns, axis=2) / area
        made[start : start + 256] = means.reshape(len(means), -1)
    return made


def _limit(thumbnails: NDArray[np.float32]) -> float:
    """Squared distance below which two thumbnails are neighbours; at least half a level RMS."""
    import numpy as np

    first, second = np.random.default_rng(0).integers(0, len(thumbnails), (2, 4096))
    other = first != second
    difference = thumbnails[first[other]] - thumbnails[second[other]]
    typical = float(np.median(np.sqrt((difference**2).mean(axis=1)))) if other.any() else 0.0
    return float(max(min(LEVEL, RELATIVE * typical), 0.5) ** 2 * thumbnails.shape[1])
