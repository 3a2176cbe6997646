"""Near-duplicate photos, which stay on one side of a split, and twins, which are one photo twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from tledge.data.streaming import Images, in_batches
from tledge.preprocessing.image import preprocess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 64
"""Images read at once."""

GROUPING = 1
"""Version of the grouping; raise it when the same images fall into other groups."""

SIDE = 16
LEVEL = 16.0
RELATIVE = 0.25

# Tolerances of `duplicates`, in grey levels RMS or as a share of the picture's own detail (see
# `_slopes`). Flowers, leaves and hands saved again at half the size and JPEG quality 75 reach 3.4
# levels and 0.19 of the detail at 16 x 16, 0.41 at 64 x 64; different ones are 18 levels apart.
FINE = 64
KEPT = 2048  # pictures of that side held at once, 100 MB
FLOOR = 1.0  # what rounding does to a plain picture
SLIGHT = 2.0  # too little to ask where it lies
COARSE_LEVEL = 4.0
COARSE_DETAIL = 0.25
FINE_DETAIL = 0.5
EVENNESS = 0.9  # 99 in 100 saved again reach 0.95, half of the close frames of a video 0.85


COMPARED = 20_000
"""Images up to which each is compared with each other; the time grows with their square."""


def near_duplicate_groups(images: Images) -> NDArray[np.int64]:
    """Group number int64[N] of prepared images uint8[N, H, W, 3], in order of first appearance.

    Two images are neighbours when their thumbnails (16 x 16 RGB box means, where small motion
    and noise vanish) differ by less than 16 grey levels RMS, and by less than a quarter of what
    two random images of the set differ by. Groups are the connected components: a slow video is
    one chain even where its ends look different. O(N^2) time in matrix products, 3 KB an image.
    """
    import numpy as np

    thumbnails = _thumbnails(images)
    thumbnails -= thumbnails.mean(0)
    limit = _limit(thumbnails)
    group = np.arange(len(images))
    for number, distance in _distances(thumbnails):
        near = distance < limit
        near[number] = True
        _merge(group, near)
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def _distances(points: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Every row's number and its squared distances float32[N] to all rows of float32[N, D]."""
    import numpy as np

    squares = np.einsum("ij,ij->i", points, points)
    for start in range(0, len(points), 256):
        part = slice(start, start + 256)
        block = squares[part, None] + squares - 2.0 * (points[part] @ points.T)
        yield from enumerate(block, start)


def _merge(group: NDArray[np.int64], near: NDArray[np.bool_]) -> None:
    import numpy as np

    seen = np.unique(group[near])
    if len(seen) > 1:
        group[np.isin(group, seen)] = seen[0]


def _thumbnails(images: Images) -> NDArray[np.float32]:
    import numpy as np

    count, height, width, channels = images.shape
    rows, columns = (np.arange(SIDE) * side // SIDE for side in (height, width))
    area = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[None, :, :, None]
    made = np.empty((count, SIDE * SIDE * channels), np.float32)
    for number, batch in enumerate(in_batches(images, np.arange(count), BATCH)):
        block: NDArray[np.float32] = batch.astype(np.float32)
        means = np.add.reduceat(np.add.reduceat(block, rows, axis=1), columns, axis=2) / area
        made[number * BATCH :][: len(means)] = means.reshape(len(means), -1)
    return made


def _limit(thumbnails: NDArray[np.float32]) -> float:
    """Squared distance below which two thumbnails are neighbours; at least half a level RMS."""
    import numpy as np

    first, second = np.random.default_rng(0).integers(0, len(thumbnails), (2, 4096))
    other = first != second
    difference = thumbnails[first[other]] - thumbnails[second[other]]
    typical = float(np.median(np.sqrt((difference**2).mean(axis=1)))) if other.any() else 0.0
    return float(max(min(LEVEL, RELATIVE * typical), 0.5) ** 2 * thumbnails.shape[1])


@dataclass(frozen=True)
class DuplicatePair:
    """Two images that are one photo: `second` repeats `first`, an earlier row.

    `kind` is "same bytes" (equal SHA-256), "same picture" (saved again, perhaps in another size
    or format) or "turned or mirrored" (the same picture after one of the seven other rotations
    and mirrorings).
    """

    first: int
    second: int
    kind: str


def duplicates(
    images: Images, sha256: Sequence[str], rows: NDArray[np.int64] | None = None
) -> list[DuplicatePair]:
    """At most one twin of each prepared image of uint8[N, H, W, 3]: the first image it repeats.

    k copies of a photo are so k - 1 twins. `sha256` are the N digests of the encoded photos, `rows`
    those to look at (all), and the list is in order of `second`. Of more than `COMPARED` images
    only the digests are compared. Whether a pair is one photo is asked three times, dearer and
    sharper: of their eight turns averaged, which no turn changes, in one matrix product; of the
    pictures shrunk to 16 x 16, each way round; and to 64 x 64 (`_is_alike`). Tolerances shrink
    with a picture's own detail, so that plain pictures must be nearly equal. Still frames of a
    video differ by less than a photo saved again, and are twins. O(N^2) time, O(N) memory.
    """
    import numpy as np

    seen: dict[str, int] = {}
    chosen = range(len(sha256)) if rows is None else rows.tolist()
    firsts = [(seen.setdefault(sha256[row], row), row) for row in chosen]
    copies = [DuplicatePair(first, row, "same bytes") for first, row in firsts if first != row]
    different = np.array([*seen.values()], np.int64)
    pictures = _same_pictures(images, different) if 2 <= len(different) <= COMPARED else ()
    return sorted([*copies, *pictures], key=lambda twin: twin.second)


def _same_pictures(images: Images, rows: NDArray[np.int64]) -> Iterator[DuplicatePair]:
    """Twins that differ in bytes, among images[rows]."""
    import numpy as np

    small = np.empty((len(rows), SIDE, SIDE, 3), np.float32)
    for number, image in enumerate(chain.from_iterable(in_batches(images, rows, BATCH))):
        small[number] = _shrunk(image, SIDE)
    detail = np.array([_rms(_slopes(one)) for one in small])
    limits = np.clip(COARSE_DETAIL * detail, FLOOR, COARSE_LEVEL) ** 2
    fine = min(FINE, *images.shape[1:3])
    look = lru_cache(KEPT)(lambda number: _shrunk(images[rows[number]], fine))
    for number, distance in _distances(_unturned(small)):
        limit = np.minimum(limits[:number], limits[number])
        turned = _turns(small[number])
        for first in np.flatnonzero(distance[:number] < limit * turned[0].size).tolist():
            ways = ((turned - small[first]) ** 2).mean((1, 2, 3)) < limit[first]
            if ways.any() and (kind := _kind(look(first), look(number), np.flatnonzero(ways))):
                yield DuplicatePair(int(rows[first]), int(rows[number]), kind)
                break


def _kind(first: NDArray[np.float32], second: NDArray[np.float32], ways: NDArray[np.int64]) -> str:
    """How the second repeats the first in one of these `ways` to turn it; "" if it does not."""
    way = next((way for way in ways.tolist() if _is_alike(first, _turned(second, way))), None)
    if way is None:
        return ""
    return "turned or mirrored" if way else "same picture"


def _is_alike(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Whether float32[S, S, 3] differ only as by saving again: little, and everywhere alike.

    Saving again loses some of the detail wherever there is detail. Between two frames of a video
    the hand has moved and the rest has not, so the difference is less evenly spread than the
    detail. Evenness is mean / root mean square.
    """
    import numpy as np

    change = np.sqrt(((first - second) ** 2).mean(-1))
    size = _rms(change)
    slopes = min(_slopes(first), _slopes(second), key=_rms)
    if size > max(FLOOR, FINE_DETAIL * _rms(slopes)):
        return False
    return size < SLIGHT or bool(change.mean() / size > EVENNESS * slopes.mean() / _rms(slopes))


def _slopes(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """RMS difference of the cells of [S, S, 3] to their right and lower neighbours: [S - 1, S - 1]."""
    import numpy as np

    down, across = np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1]
    made: NDArray[np.float32] = np.sqrt((down**2 + across**2).mean(-1) / 2)
    return made


def _rms(values: NDArray[np.float32]) -> float:
    import numpy as np

    return float(np.sqrt((values**2).mean()))


def _turned(image: NDArray[np.float32], way: int) -> NDArray[np.float32]:
    """One of the eight rotations and mirrorings of [S, S, 3]; way 0 leaves it as it is."""
    import numpy as np

    return np.rot90(image[:, ::-1] if way > 3 else image, way)


def _turns(image: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return np.stack([_turned(image, way) for way in range(8)])


def _unturned(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The eight turns averaged, about the mean of all: [N, S, S, 3] to [N, S * S * 3].

    An average never moves two images apart: it may be asked first, with the same limit.
    """
    import numpy as np

    made: NDArray[np.float32] = np.stack([_turns(image).mean(0).reshape(-1) for image in images])
    made -= made.mean(0)
    return made


def _shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """uint8[H, W, 3] as float32[side, side, 3]; a turned image shrinks to the same, turned.

    The boxes of `_thumbnails` are not so: where 16 does not divide the side they differ by a pixel.
    """
    return preprocess(image, (side, side)).astype("float32")
