"""Time a model: images in a stream, and the percentiles of their latencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.runtime.sessions import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Minimum:
    """How long a stream goes on: until both are reached, and one query at the least."""

    queries: int
    seconds: float


def stream(
    session: Session, images: NDArray[np.uint8], minimum: Minimum, clock: Callable[[], int]
) -> list[int]:
    """Latencies in nanoseconds of single images uint8[N, H, W, 3] in turn, until `minimum` is met."""
    latencies: list[int] = []
    begun = clock()
    end = begun + round(minimum.seconds * 1e9)
    while True:
        index = len(latencies) % len(images)
        one = images[index : index + 1]
        start = clock()
        session.run(one)
        done = clock()
        latencies.append(done - start)
        if done >= end and len(latencies) >= minimum.queries:
            return latencies


def percentiles(latencies: list[int]) -> tuple[float, float, float]:
    """p50, p90 and p99 in milliseconds of latencies in nanoseconds, by nearest rank.

    The nearest rank is the inverse of the empirical distribution (Hyndman and Fan's type 1), so
    every figure is a latency that was measured.
    """
    import numpy as np

    p50, p90, p99 = np.percentile(latencies, (50, 90, 99), method="inverted_cdf") / 1e6
    return float(p50), float(p90), float(p99)
