"""The timing loop: percentiles, how long a stream goes on, and what does not count."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tests.helpers.clockwork import MS, Clockwork
from tledge.inference.bench import OFFICIAL, QUICK
from tledge.runtime.latency import Minimum, percentiles, stream


def timed(minimum: Minimum, *latencies: float) -> list[int]:
    session = Clockwork(*latencies)
    return stream(session, fake_artifacts.pixels(), minimum, session.clock)


def test_percentiles_of_a_hundred() -> None:
    latencies = [number * MS for number in range(100, 0, -1)]
    assert percentiles(latencies) == (50.0, 90.0, 99.0)
    assert percentiles([7 * MS]) == (7.0, 7.0, 7.0)
    assert percentiles([1 * MS] * 98 + [30 * MS] * 2) == (1.0, 1.0, 30.0)


def test_percentiles_are_nearest_ranks() -> None:
    """The definition written out: at least p % are not larger, and it is the smallest such."""
    latencies = np.random.default_rng(0).integers(1, 10**9, 777).tolist()
    ordered = sorted(latencies)
    for share, found in zip((50, 90, 99), percentiles(latencies), strict=True):
        rank = -(-share * len(ordered) // 100)
        assert found == ordered[rank - 1] / MS


@pytest.mark.parametrize(
    ("latency", "queries", "seconds"),
    [(1.0, 60_000, 60.0), (58.0, 1035, 60.03), (100.0, 1024, 102.4)],
)
def test_official_stream_holds_both_minimums(latency: float, queries: int, seconds: float) -> None:
    found = timed(OFFICIAL, latency)
    assert len(found) == queries and sum(found) == round(seconds * 1000) * MS
    assert len(found) >= 1024 and sum(found) >= 60 * 1000 * MS


def test_quick_stream_holds_both_minimums() -> None:
    assert len(timed(QUICK, 100.0)) == 100
    assert len(timed(QUICK, 0.5)) == 2000
    assert timed(Minimum(0, 0.0), 5.0) == [5 * MS]


def test_images_come_one_by_one_in_turn() -> None:
    session, images = Clockwork(1.0), fake_artifacts.pixels(3)
    stream(session, images, Minimum(7, 0.0), session.clock)
    assert [one.shape[0] for one in session.seen] == [1] * 7
    assert all(np.array_equal(one[0], images[number % 3]) for number, one in enumerate(session.seen))
