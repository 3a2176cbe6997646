"""Check an artifact against the stress gates: its predictions on corrupted images beside the reference's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tledge.config import Parity
from tledge.metrics.parity_gates import (
    ROUNDING,
    Finding,
    Judgement,
    PredictionComparison,
    agreement_findings,
    images_to_resolve,
    judgement,
    points,
)

Cell = tuple[str, int]
"""Name of a corruption, and its level from 1 to 3."""


def check_stress(comparisons: Mapping[Cell, PredictionComparison], limits: Parity) -> Judgement:
    """Check the corruption with the lowest agreement, and the one with the largest drop of accuracy.

    The lowest of many shares lies below the share that all have in truth, by about two standard errors for
    27 of them. The default gates leave that room.

    Args:
        comparisons: By corruption and level, the artifact beside the reference model; not empty.
        limits: The gates `stress_agreement` and `stress_drop`.
    """
    worst = min(comparisons, key=lambda cell: comparisons[cell].agreement)
    findings = [
        (verdict, f"under {described(worst)}: {reason}")
        for verdict, reason in agreement_findings(comparisons[worst], limits.stress_agreement)
    ]
    steepest = min(comparisons, key=lambda cell: comparisons[cell].accuracy_change)
    return judgement([*findings, *_drop(steepest, comparisons[steepest], limits.stress_drop)])


def described(cell: Cell) -> str:
    """Return a corruption and its level as text, e.g. `blur, level 3`."""
    return f"{cell[0]}, level {cell[1]}"


def _drop(cell: Cell, comparison: PredictionComparison, allowed: float) -> Iterator[Finding]:
    """Check the drop of accuracy; inconclusive where one image is more than the gate allows."""
    if -comparison.accuracy_change <= allowed + ROUNDING:
        return
    both = (
        f"under {described(cell)}: accuracy {comparison.accuracy:.1%}, Keras "
        f"{comparison.reference_accuracy:.1%}"
    )
    needed = images_to_resolve(allowed)
    if comparison.images < needed and not comparison.accuracy_change_high < -allowed:
        yield (
            "undecided",
            f"inconclusive: {both}; detecting a {points(allowed)}-point accuracy drop needs at least "
            f"{needed} images, there are {comparison.images}",
        )
        return
    yield (
        "failed",
        f"{both}: a drop of {points(-comparison.accuracy_change)} points; at most {points(allowed)} allowed",
    )
