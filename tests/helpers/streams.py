"""Photos that are streamed, beside the same ones from a cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tledge.config import Data
from tledge.data import cache, prepare

SIDE = 16
LABELS = ("cat", "dog", "emu")


def check_streamed_as_cached(data: Data) -> None:
    """Streaming gives the rows and pixels that a cache holds, also when its index is opened again."""
    cached, streamed = (prepare.prepare_dataset(replace(data, cache=keep), SIDE) for keep in (True, False))
    assert np.array_equal(streamed.images()[:], cached.images())
    assert np.ptp(streamed.images()[:]) > 50
    assert [replace(row, offset=0) for row in streamed.rows] == list(cached.rows)
    assert (streamed.labels, streamed.skipped) == (cached.labels, cached.skipped)
    again = cache.open_cache(streamed.folder)
    assert np.array_equal(again.images()[2], cached.images()[2])
