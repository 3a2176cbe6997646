"""Group near-duplicate images, such as frames of a video, so that a group stays in one split."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic
from tledge.data.cache import Prepared
from tledge.data.neighbours import Components, NeighbourIndex
from tledge.data.streaming import Images
from tledge.data.thumbnails import Thumbnails, box_mean_blocks, stored
from tledge.progress import SILENT, Progress, start_task

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


VERIFIED = 2048
"""Pairs whose exact distance is computed at once."""


def groups_of(prepared: Prepared, progress: Progress = SILENT) -> NDArray[np.int64]:
    """Return the group numbers of a prepared set, int64[N]; kept in its folder if possible."""
    import numpy as np

    path = prepared.folder / f"groups-{GROUPING}.npy"
    groups = _read(path, len(prepared.rows))
    if groups is None:
        is_writable = os.access(prepared.folder, os.W_OK)
        scratch = prepared.folder if is_writable else None
        groups = near_duplicate_groups(prepared.images(), progress, scratch)
        if is_writable:
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


def near_duplicate_groups(
    images: Images, progress: Progress = SILENT, scratch: Path | None = None
) -> NDArray[np.int64]:
    """Assign prepared images uint8[N, H, W, 3] to groups int64[N], numbered by first appearance.

    Two images are neighbours when their thumbnails (16 x 16 RGB box means) differ by less than `LEVEL`, and
    by less than `RELATIVE` of what two random images of the set differ by. Groups are the connected
    components: a slow video is one chain even where its ends look different.

    Args:
        images: The prepared images.
        progress: Shows how many images are read and compared.
        scratch: Folder for a temporary file of 3 KB an image, which many images take; None is the system's.
    """
    import numpy as np

    if not len(images):
        return np.zeros(0, np.int64)
    with closing(_thumbnails(images, progress)) as blocks, stored(blocks, len(images), scratch) as thumbnails:
        groups = _connected(thumbnails, _limit(thumbnails), progress)
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def _thumbnails(images: Images, progress: Progress) -> Generator[NDArray[np.float32]]:
    """Yield the thumbnails of some images after another."""
    with start_task(progress, "thumbnails", len(images)) as task:
        for block in box_mean_blocks(images, SIDE):
            yield block
            task.advance(len(block))


def _connected(thumbnails: Thumbnails, limit: float, progress: Progress) -> NDArray[np.int64]:
    """Return the least row of each row's component, where pairs closer than `limit` are connected."""
    import numpy as np

    components = Components(thumbnails.shape[0])

    def is_apart(leaf: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        roots = components.roots(leaf)
        return components.roots(others) != roots[0] if (roots == roots[0]).all() else others >= 0

    index = NeighbourIndex(thumbnails, limit)
    with start_task(progress, "near-duplicates", thumbnails.shape[0]) as task:
        for first, second in index.candidates(task, is_apart):
            _join_close(components, thumbnails, (first, second), limit)
    return components.roots(np.arange(thumbnails.shape[0]))


def _join_close(
    components: Components,
    thumbnails: Thumbnails,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    limit: float,
) -> None:
    """Join the components of the pairs that are closer than `limit`; pairs within one are not compared."""
    first, second = pairs
    while len(first):
        apart = components.roots(first) != components.roots(second)
        first, second = first[apart], second[apart]
        one, other = first[:VERIFIED], second[:VERIFIED]
        close = ((thumbnails[one] - thumbnails[other]) ** 2).sum(1) < limit
        components.join(one[close], other[close])
        first, second = first[VERIFIED:], second[VERIFIED:]


def _limit(thumbnails: Thumbnails) -> float:
    """Return the squared distance below which two thumbnails are neighbours."""
    import numpy as np

    count, length = thumbnails.shape
    first, second = np.random.default_rng(0).integers(0, count, (2, 4096))
    other = first != second
    difference = thumbnails[first[other]] - thumbnails[second[other]]
    typical = float(np.median(np.sqrt((difference**2).mean(axis=1)))) if other.any() else 0.0
    return float(max(min(LEVEL, RELATIVE * typical), SMALLEST_LIMIT) ** 2 * length)
