"""Figures in words: how shares, intervals, changes and sizes are written wherever a person reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line starts with this module
    from tledge.contract import AbstentionPolicy
    from tledge.run.records import Score

NONE = "–"
"""Stands where there is no figure."""


def share(value: float | None) -> str:
    """A share in 0..1 with four digits, a dash where there is none."""
    return NONE if value is None else f"{value:.4f}"


def span(low: float | None, high: float | None) -> str:
    """An interval of shares; empty where there is none."""
    return "" if low is None or high is None else f"{low:.4f}–{high:.4f}"


def interval(score: Score) -> str:
    """`.9650 (.9410–.9790, 372 images)`, with top-5 where there is one."""
    top5 = "" if score.top5 is None else f", top-5 {score.top5:.4f}"
    return f"{score.accuracy:.4f} ({span(score.low, score.high)}, {score.images} images{top5})"


def points(change: float | None, low: float | None = None, high: float | None = None) -> str:
    """A change in percentage points, with its 95 % interval where there is one."""
    if change is None:
        return NONE
    within = "" if low is None or high is None else f" ({point_span(low, high)})"
    return f"{100 * change:+.2f} pp{within}"


def point_span(low: float, high: float) -> str:
    """An interval of a change in percentage points."""
    return f"{100 * low:+.1f}…{100 * high:+.1f}"


def kib(size: float) -> str:
    """Bytes in whole KiB."""
    return f"{size / 1024:.0f}"


def unsure(fitted: AbstentionPolicy) -> str:
    """When a model does not answer, in words."""
    if not fitted.threshold:
        return "never, it answers every photo"
    return (
        f"below a confidence of {fitted.threshold:.4f}: answers {fitted.coverage:.1%} of the validation "
        f"photos, {fitted.error:.1%} of these wrong"
    )
