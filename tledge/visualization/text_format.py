"""Format figures for people: shares, intervals, changes and sizes."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line starts with this module
    from tledge.contract import AbstentionPolicy
    from tledge.run.records import Score

NONE = "–"
"""Text in place of a figure that does not exist."""


def share(value: float | None) -> str:
    """Return a share in 0..1 with four decimals, a dash for None."""
    return NONE if value is None else f"{value:.4f}"


def percent(value: float | None) -> str:
    """Return a share in 0..1 in per cent with one decimal; never 100 where it is less; a dash for None."""
    if value is None:
        return NONE
    return "99.9%" if 0.9995 <= value < 1 else f"{value:.1%}"


def span(low: float | None, high: float | None) -> str:
    """Return an interval of shares; empty where a bound is None."""
    return "" if low is None or high is None else f"{low:.4f}–{high:.4f}"


def percent_span(low: float | None, high: float | None) -> str:
    """Return an interval of shares in per cent, as `71.3–93.9%`; empty where a bound is None."""
    return "" if low is None or high is None else f"{percent(low).removesuffix('%')}–{percent(high)}"


def interval(score: Score) -> str:
    """Return `.9650 (.9410–.9790, 372 images)`, with top-5 accuracy where it was measured."""
    top5 = "" if score.top5 is None else f", top-5 {score.top5:.4f}"
    return f"{score.accuracy:.4f} ({span(score.low, score.high)}, {score.images} images{top5})"


def accuracy(score: Score) -> str:
    """Return `86.1% of 36 images (95% interval 71.3% to 93.9%)`, and top-5 accuracy if measured."""
    top5 = "" if score.top5 is None else f", top-5 {percent(score.top5)}"
    bounds = f"95% interval {percent(score.low)} to {percent(score.high)}"
    return f"{percent(score.accuracy)} of {score.images:,} images ({bounds}){top5}"


def points(change: float | None, low: float | None = None, high: float | None = None, digits: int = 2) -> str:
    """Return a change in percentage points, with its 95 % interval where it was measured."""
    if change is None:
        return NONE
    bounds = "" if low is None or high is None else f" ({point_span(low, high)})"
    return f"{100 * change:+.{digits}f} pp{bounds}"


def point_span(low: float, high: float) -> str:
    """Return the interval of a change in percentage points."""
    return f"{100 * low:+.1f}…{100 * high:+.1f}"


def kib(size: float) -> str:
    """Return a size in bytes as whole KiB."""
    return f"{size / 1024:.0f}"


def size(count: int) -> str:
    """Return a size in bytes as KiB or MiB, with three digits."""
    if count < 1000 << 10:
        return f"{count / 1024:.0f} KiB"
    return f"{count / (1 << 20):.3g} MiB" if count < 1000 << 20 else f"{count / (1 << 20):.0f} MiB"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, whichever reads best."""
    if seconds < 100:
        return f"{ceil(seconds)} s"
    return f"{ceil(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def abstention(policy: AbstentionPolicy) -> str:
    """Return a confidence threshold with its coverage and selective accuracy, or why it is not set."""
    if not policy.threshold:
        return f"not set: {policy.reason or 'no prediction is rejected'}"
    return (
        f"{percent(policy.threshold)}, coverage {policy.coverage:.1%}, "
        f"selective accuracy {1 - policy.error:.1%} (validation)"
    )
