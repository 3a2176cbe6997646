"""Find images that are one photo twice: the same file, saved again, turned or mirrored.

Files are compared by their SHA-256. Of all other images those are compared that are close to each other when
averaged over their eight turns, which no turn changes; `saved_again` says how.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from tledge._io import files
from tledge.data.cache import Prepared
from tledge.data.neighbours import NeighbourIndex
from tledge.data.saved_again import TURNS, AveragedOverTurns, ImagePairs
from tledge.data.streaming import Images
from tledge.progress import SILENT, Progress, start_task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Version of the search; raise it when it finds other duplicates among the same images."""

COMPARED = 20_000
"""Images up to which similar ones are searched; of more only the files are compared."""

TILE = 64
"""Images on either side of the pairs that are compared coarsely at once."""

AT_ONCE = 64
"""Pairs whose fine thumbnails are compared at once."""

SAVED_AGAIN, TURNED = "same picture", "turned or mirrored"


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
    prepared: Prepared, rows: NDArray[np.int64], announce: Callable[[], None], progress: Progress = SILENT
) -> list[DuplicatePair]:
    """Find the duplicates among these rows of a prepared set; kept in its folder if possible.

    `announce` is called before a search, which may take long; `progress` shows it.
    """
    key = hashlib.sha256(repr((VERSION, COMPARED)).encode() + rows.tobytes()).hexdigest()[:16]
    path = prepared.folder / f"duplicates-{key}.json"
    try:
        return [DuplicatePair(*pair) for pair in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):  # not searched yet
        announce()
    pairs = find_duplicates(prepared.images(), [row.sha256 for row in prepared.rows], rows, progress)
    if os.access(prepared.folder, os.W_OK):
        with contextlib.suppress(OSError):  # a full disk: the next command searches again
            files.write_json(path, [astuple(pair) for pair in pairs])
    return pairs


def find_duplicates(
    images: Images,
    sha256: Sequence[str],
    rows: NDArray[np.int64] | None = None,
    progress: Progress = SILENT,
) -> list[DuplicatePair]:
    """Pair each prepared image of uint8[N, H, W, 3] with the first image it repeats, if there is one.

    k copies of a photo are so k - 1 pairs. Still frames of a video differ by less than a photo saved again,
    and are duplicates. Of more than `COMPARED` images only the digests are compared.

    Args:
        images: The prepared images.
        sha256: The digest of each encoded photo.
        rows: The images to compare; None compares all.
        progress: Shows how many images are compared with all others.

    Returns:
        The pairs in order of `second`.
    """
    import numpy as np

    first_rows: dict[str, int] = {}
    chosen = range(len(sha256)) if rows is None else rows.tolist()
    firsts = [(first_rows.setdefault(sha256[row], row), row) for row in chosen]
    copies = [DuplicatePair(first, row, "same bytes") for first, row in firsts if first != row]
    different = np.array([*first_rows.values()], np.int64)
    alike = _similar_pairs(images, different, progress) if 2 <= len(different) <= COMPARED else ()
    return sorted([*copies, *alike], key=lambda pair: pair.second)


def _similar_pairs(images: Images, rows: NDArray[np.int64], progress: Progress) -> list[DuplicatePair]:
    """Return the pairs among images[rows] whose files differ."""
    import numpy as np

    with start_task(progress, "duplicates", 2 * len(rows)) as task:  # each is read, and compared
        pairs = ImagePairs(images, rows, task)
        repeats = _Repeats(pairs, len(rows))
        limit = float(pairs.limits.max()) * pairs.coarse[0].size
        index = NeighbourIndex(AveragedOverTurns(pairs.coarse), limit)
        for one, other in index.candidates(task):
            repeats.enter(np.minimum(one, other), np.maximum(one, other))
    return [
        DuplicatePair(int(rows[first]), int(rows[row]), TURNED if turn else SAVED_AGAIN)
        for row, (first, turn) in enumerate(zip(repeats.firsts.tolist(), repeats.turns.tolist(), strict=True))
        if first < row
    ]


class _Repeats:
    """The least image that each one repeats, itself where there is none, and in which turn."""

    def __init__(self, pairs: ImagePairs, count: int) -> None:
        import numpy as np

        self._pairs = pairs
        self.firsts, self.turns = np.arange(count), np.zeros(count, np.int64)

    def enter(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
        """Compare pairs of images, the first of each earlier than the second, and enter those that repeat."""
        import numpy as np

        places = [np.unique(rows, return_inverse=True)[1] // TILE for rows in (low, high)]
        tiles = places[0] * (len(low) + 1) + places[1]
        order = np.argsort(tiles, kind="stable")
        for tile in np.split(order, np.flatnonzero(np.diff(tiles[order])) + 1):
            for turn in range(TURNS):
                open_pairs = tile[low[tile] < self.firsts[high[tile]]]
                if len(open_pairs):
                    self._enter_turned(low[open_pairs], high[open_pairs], turn)

    def _enter_turned(self, low: NDArray[np.int64], high: NDArray[np.int64], turn: int) -> None:
        """Enter pairs that repeat in one turn; by ascending image, and none that comes too late to matter."""
        import numpy as np

        likely = np.flatnonzero(self._pairs.likely(low, high, turn))
        likely = likely[np.argsort(low[likely], kind="stable")]
        for start in range(0, len(likely), AT_ONCE):
            part = likely[start : start + AT_ONCE]
            part = part[low[part] < self.firsts[high[part]]]
            if len(part):
                part = part[self._pairs.is_saved_again(low[part], high[part], turn)]
            np.minimum.at(self.firsts, high[part], low[part])
            is_least = self.firsts[high[part]] == low[part]
            self.turns[high[part[is_least]]] = turn
