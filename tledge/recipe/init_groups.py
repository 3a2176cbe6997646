"""Tell for `tledge init` whether near-duplicates would keep most photos of a label in one split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tledge._process import processors
from tledge._process.ordered_map import in_order
from tledge.data.near_duplicates import near_duplicate_groups
from tledge.data.sources.base import Record
from tledge.errors import DataError, MissingError
from tledge.preprocessing import image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE = 16
"""Photos of a label that are compared, evenly spread over its photos."""

FEWEST = 8
"""Photos of a label below which nothing is said of it."""

MOST = 128
"""Photos that are compared in all: decoding large ones takes a tenth of a second each."""

SIDE = 64
"""Side that photos are compared at, in pixels."""


def held_together(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the labels of which more than half of a sample are near-duplicates of each other.

    So it is with a fixed camera: what differs between two photos is small.
    """
    import numpy as np

    by_label: dict[str, list[Record]] = {}
    for record in records:
        by_label.setdefault(record.label, []).append(record)
    chosen = [record for members in by_label.values() for record in _spread(members)][:MOST]
    if not chosen:
        return ()
    decoded = in_order(_pixels, chosen, processors.usable(), 2 * processors.usable())
    pairs = [(record, pixels) for record, pixels in zip(chosen, decoded, strict=True) if pixels is not None]
    if not pairs:
        return ()
    labels = np.array([record.label for record, _pixels in pairs])
    groups = near_duplicate_groups(np.stack([pixels for _record, pixels in pairs]))
    return tuple(label for label in by_label if _is_one_group(groups[labels == label]))


def _spread(records: Sequence[Record]) -> Sequence[Record]:
    """Return up to `SAMPLE` records at equal distances."""
    if len(records) < FEWEST:
        return ()
    count = min(SAMPLE, len(records))
    return [records[number * len(records) // count] for number in range(count)]


def _pixels(record: Record) -> NDArray[np.uint8] | None:
    try:
        return image.preprocess(record.read(), (SIDE, SIDE))
    except (DataError, MissingError, OSError):
        return None


def _is_one_group(groups: NDArray[np.int64]) -> bool:
    """Check whether more than half of some group numbers int64[N] are the same."""
    import numpy as np

    sizes = np.unique(groups, return_counts=True)[1]
    return bool(sizes.size and 2 * sizes.max() > sizes.sum() >= FEWEST)
