"""Measure latency: run single images in a loop and compute percentiles."""

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
    """The least that is measured: a stream ends when both numbers are reached, after at least one query.

    Attributes:
        queries: Number of images.
        seconds: Time in seconds.
    """

    queries: int
    seconds: float


def stream(
    session: Session, images: NDArray[np.uint8], minimum: Minimum, clock: Callable[[], int]
) -> list[int]:
    """Run single images one after the other until `minimum` is reached, and time each.

    Args:
        session: The opened model.
        images: uint8[N, H, W, 3] RGB; fed in order, and again from the first one after the last.
        minimum: When to stop.
        clock: Returns nanoseconds, such as `time.perf_counter_ns`.

    Returns:
        The latency of each query in nanoseconds.

    Raises:
        ArtifactError: the model does not run.
    """
    latencies: list[int] = []
    end = clock() + round(minimum.seconds * 1e9)
    while True:
        row = len(latencies) % len(images)
        image = images[row : row + 1]
        start = clock()
        session.run(image)
        stop = clock()
        latencies.append(stop - start)
        if stop >= end and len(latencies) >= minimum.queries:
            return latencies


def percentiles(latencies: list[int]) -> tuple[float, float, float]:
    """Compute p50, p90 and p99 in milliseconds of latencies in nanoseconds, by nearest rank.

    The nearest rank is the inverse of the empirical distribution (Hyndman and Fan's type 1), so
    every figure is a latency that was measured.
    """
    import numpy as np

    p50, p90, p99 = np.percentile(latencies, (50, 90, 99), method="inverted_cdf") / 1e6
    return float(p50), float(p90), float(p99)
