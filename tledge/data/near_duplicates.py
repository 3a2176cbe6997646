"""Group near-duplicate images, such as frames of a video, so that a group stays in one split."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic
from tledge.data.cache import Prepared
from tledge.data.streaming import Images
from tledge.data.thumbnails import box_means, squared_distances

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUPING = 1
"""Version of the grouping; raise it when the same images fall into other groups."""

SIDE = 16
"""Side of the thumbnails: small motion and noise vanish."""

LEVEL = 16.0
"""Difference of neighbours in grey levels RMS, at most."""

RELATIVE = 0.25
"""Difference of neighbours, at most, as a share of what two random images of the set differ by."""

SMALLEST_LIMIT = 0.5
"""Difference in grey levels RMS below which images are always neighbours."""


def groups_of(prepared: Prepared) -> NDArray[np.int64]:
    """Return the group numbers of a prepared set, int64[N]; kept in its folder if possible."""
    import numpy as np

    path = prepared.folder / f"groups-{GROUPING}.npy"
    groups = _read(path, len(prepared.rows))
    if groups is None:
        groups = near_duplicate_groups(prepared.images())
        if os.access(prepared.folder, os.W_OK):
            with atomic.replacing(path) as partial:
                np.save(partial, groups)
    return groups


def _read(path: Path, count: int) -> NDArray[np.int64] | None:
    """Return the groups of `count` images in a file; None where there is no such file, or it is cut."""
    import numpy as np

    try:
        groups: NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return groups if groups.shape == (count,) and groups.dtype == np.int64 else None


def near_duplicate_groups(images: Images) -> NDArray[np.int64]:
    """Assign prepared images uint8[N, H, W, 3] to groups int64[N], numbered by first appearance.

    Two images are neighbours when their thumbnails (16 x 16 RGB box means) differ by less than `LEVEL`, and
    by less than `RELATIVE` of what two random images of the set differ by. Groups are the connected
    components: a slow video is one chain even where its ends look different. O(N^2) time in matrix products,
    3 KB an image.
    """
    import numpy as np

    thumbnails = box_means(images, SIDE)
    thumbnails -= thumbnails.mean(0)
    limit = _limit(thumbnails)
    groups = np.arange(len(images))
    for number, distance in squared_distances(thumbnails):
        near = distance < limit
        near[number] = True
        _merge(groups, near)
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def _merge(groups: NDArray[np.int64], near: NDArray[np.bool_]) -> None:
    """Give all images that are near the group of the first."""
    import numpy as np

    numbers = np.unique(groups[near])
    if len(numbers) > 1:
        groups[np.isin(groups, numbers)] = numbers[0]


def _limit(thumbnails: NDArray[np.float32]) -> float:
    """Return the squared distance below which two thumbnails are neighbours."""
    import numpy as np

    first, second = np.random.default_rng(0).integers(0, len(thumbnails), (2, 4096))
    other = first != second
    difference = thumbnails[first[other]] - thumbnails[second[other]]
    typical = float(np.median(np.sqrt((difference**2).mean(axis=1)))) if other.any() else 0.0
    return float(max(min(LEVEL, RELATIVE * typical), SMALLEST_LIMIT) ** 2 * thumbnails.shape[1])
