"""Find images that are one photo twice: the same file, saved again, turned or mirrored.

Files are compared by their SHA-256, all other images in three steps, each more expensive and sharper:

    1. thumbnails of 16 x 16, averaged over their eight turns, which no turn changes: one matrix product
    2. the same thumbnails, in each of the eight turns
    3. thumbnails of 64 x 64, in the turns that step 2 left

`COARSE` holds the tolerance of steps 1 and 2 (averaging never moves two images apart), `FINE` that of step 3.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tledge._io import files
from tledge.data.cache import Prepared
from tledge.data.streaming import Images
from tledge.data.thumbnails import shrink, shrink_all, squared_distances

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Version of the search; raise it when it finds other duplicates among the same images."""

COMPARED = 20_000
"""Images up to which each is compared with each other; the time grows with their square."""

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

    def limit(self, detail: float) -> float:
        """Return the tolerated difference for an image of so much detail."""
        return min(max(self.share * detail, self.least), self.most)


# Flowers, leaves and hands saved again at half the size and JPEG quality 75 reach 3.4 levels and 0.19 of the
# detail at 16 x 16, 0.41 at 64 x 64; different ones are 18 levels apart. Rounding alone changes a plain image
# by one level.
COARSE = Stage(side=16, share=0.25, least=1.0, most=4.0)
FINE = Stage(side=64, share=0.5, least=1.0, most=float("inf"))

EVEN_BELOW = 2.0
"""Differences in grey levels RMS that are too small to ask how evenly they are spread."""

EVENNESS = 0.9
"""Evenness of a difference over that of the detail, at least.

99 in 100 images that were saved again reach 0.95, half of the close frames of a video 0.85.
"""

KEPT = 2048
"""Fine thumbnails held in memory at once, 100 MB."""


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


def duplicates_of(
    prepared: Prepared, rows: NDArray[np.int64], announce: Callable[[], None]
) -> list[DuplicatePair]:
    """Find the duplicates among these rows of a prepared set; kept in its folder if possible.

    `announce` is called before a search, which may take long.
    """
    key = hashlib.sha256(repr((VERSION, COMPARED)).encode() + rows.tobytes()).hexdigest()[:16]
    path = prepared.folder / f"duplicates-{key}.json"
    try:
        return [DuplicatePair(*pair) for pair in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):  # not searched yet
        announce()
    pairs = find_duplicates(prepared.images(), [row.sha256 for row in prepared.rows], rows)
    if os.access(prepared.folder, os.W_OK):
        with contextlib.suppress(OSError):  # a full disk: the next command searches again
            files.write_json(path, [astuple(pair) for pair in pairs])
    return pairs


def find_duplicates(
    images: Images, sha256: Sequence[str], rows: NDArray[np.int64] | None = None
) -> list[DuplicatePair]:
    """Pair each prepared image of uint8[N, H, W, 3] with the first image it repeats, if there is one.

    k copies of a photo are so k - 1 pairs. Still frames of a video differ by less than a photo saved again,
    and are duplicates. Of more than `COMPARED` images only the digests are compared. O(N^2) time, O(N)
    memory.

    Args:
        images: The prepared images.
        sha256: The digest of each encoded photo.
        rows: The images to compare; None compares all.

    Returns:
        The pairs in order of `second`.
    """
    import numpy as np

    first_rows: dict[str, int] = {}
    chosen = range(len(sha256)) if rows is None else rows.tolist()
    firsts = [(first_rows.setdefault(sha256[row], row), row) for row in chosen]
    copies = [DuplicatePair(first, row, "same bytes") for first, row in firsts if first != row]
    different = np.array([*first_rows.values()], np.int64)
    alike = _similar_pairs(images, different) if 2 <= len(different) <= COMPARED else ()
    return sorted([*copies, *alike], key=lambda pair: pair.second)


def _similar_pairs(images: Images, rows: NDArray[np.int64]) -> Iterator[DuplicatePair]:
    """Yield the pairs among images[rows] whose files differ."""
    import numpy as np

    coarse = shrink_all(images, rows, COARSE.side)
    limits = np.array([COARSE.limit(_rms(_slopes(thumbnail))) for thumbnail in coarse]) ** 2
    fine_side = min(FINE.side, *images.shape[1:3])
    fine = lru_cache(KEPT)(lambda position: shrink(images[rows[position]], fine_side))
    for second, distance in squared_distances(_averaged_over_turns(coarse)):
        limit = np.minimum(limits[:second], limits[second])
        turned = _turns(coarse[second])
        for first in np.flatnonzero(distance[:second] < limit * turned[0].size).tolist():
            turns = np.flatnonzero(((turned - coarse[first]) ** 2).mean((1, 2, 3)) < limit[first]).tolist()
            if turns and (kind := _kind(fine(first), fine(second), turns)):
                yield DuplicatePair(int(rows[first]), int(rows[second]), kind)
                break


def _kind(first: NDArray[np.float32], second: NDArray[np.float32], turns: Sequence[int]) -> str:
    """Say how the second image repeats the first in one of these turns; "" if it does not."""
    turn = next((turn for turn in turns if _is_saved_again(first, _turned(second, turn))), None)
    if turn is None:
        return ""
    return "turned or mirrored" if turn else "same picture"


def _is_saved_again(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Decide whether float32[S, S, 3] differ only as by saving again: little, and everywhere alike.

    Saving again loses some of the detail wherever there is detail. Between two frames of a video
    the hand has moved and the rest has not, so the difference is less evenly spread than the
    detail. Evenness is mean / root mean square.
    """
    import numpy as np

    change = np.sqrt(((first - second) ** 2).mean(-1))
    size = _rms(change)
    slopes = min(_slopes(first), _slopes(second), key=_rms)
    detail = _rms(slopes)
    if size > FINE.limit(detail):
        return False
    return size < EVEN_BELOW or bool(change.mean() / size > EVENNESS * slopes.mean() / detail)


def _slopes(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the detail: RMS difference of [S, S, 3] to the right and lower neighbours, [S - 1, S - 1]."""
    import numpy as np

    down, across = np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1]
    slopes: NDArray[np.float32] = np.sqrt((down**2 + across**2).mean(-1) / 2)
    return slopes


def _rms(values: NDArray[np.float32]) -> float:
    """Return the root mean square."""
    import numpy as np

    return float(np.sqrt((values**2).mean()))


def _turned(image: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """Rotate and mirror [S, S, 3] in one of the eight ways."""
    import numpy as np

    return np.rot90(image[:, ::-1] if turn > 3 else image, turn)


def _turns(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return all turns of [S, S, 3]: [8, S, S, 3]."""
    import numpy as np

    return np.stack([_turned(image, turn) for turn in range(TURNS)])


def _averaged_over_turns(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the turns of each image of [N, S, S, 3], about the mean of all: [N, S * S * 3]."""
    import numpy as np

    averaged: NDArray[np.float32] = np.stack([_turns(image).mean(0).reshape(-1) for image in images])
    averaged -= averaged.mean(0)
    return averaged
