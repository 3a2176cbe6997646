"""Decide how the pixels of a photo are scaled for a model: as it says itself, or as labelled photos show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.adoption import backbone_names
from tledge.adoption.facts import ModelFacts
from tledge.errors import RecipeError
from tledge.metrics import scaling_choice
from tledge.metrics.scaling_choice import Choice
from tledge.preprocessing.scaling import BYTES, SCALINGS, TO_ONE, Scaling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Predict = Callable[[Scaling], NDArray[np.float32]]

NARROWEST, WIDEST = 0.5, 12.0
"""Ranges of pixel values that networks are trained on: 0..1 and -1..1 up to several deviations."""


@dataclass(frozen=True)
class Decision:
    """A scaling, where it comes from ("given", "model" or "photos"), and sentences about it."""

    scaling: Scaling
    source: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expectation:
    """The scaling that a model says itself it takes, how it says so, and whether that is certain."""

    scaling: Scaling
    reason: str
    is_certain: bool


def expectation(facts: ModelFacts) -> Expectation | None:
    """Return the scaling that a model says it takes; None where it says nothing."""
    if facts.has_preprocessing:
        span, of_one = facts.high - facts.low, facts.high_of_one - facts.low_of_one
        shown = f"from {facts.low:.4g} to {facts.high:.4g}"
        is_of_bytes = (facts.low == 0 and span == 255) or (facts.low < -20 and 250 <= span <= 300)
        if NARROWEST <= span <= WIDEST or is_of_bytes:
            return Expectation(BYTES, f"its own preprocessing maps bytes to values {shown}", True)
        if NARROWEST <= of_one <= WIDEST:
            return Expectation(TO_ONE, "its own preprocessing is made for values from 0 to 1", True)
        return None
    if known := backbone_names.scaling_of(facts.names):
        return Expectation(known[1], f"{known[0]!r} is made for it", False)
    return None


def candidates(facts: ModelFacts, given: Scaling | None) -> tuple[Scaling, ...]:
    """Return the scalings to try; those that differ between channels not for grey models."""
    fitting = SCALINGS if facts.channels == 3 else tuple(s for s in SCALINGS if not s.per_channel)
    fitting = fitting if facts.channels == 3 else tuple(s for s in fitting if s.order == "RGB")
    return fitting if given is None or given in fitting else (given, *fitting)


def decide(
    facts: ModelFacts,
    given: Scaling | None,
    labels: NDArray[np.int64],
    predictions: dict[str, NDArray[np.int64]],
) -> Decision:
    """Decide for a scaling.

    Args:
        facts: What the model says of itself.
        given: The scaling of --scaling.
        labels: The classes int64[N] of labelled photos.
        predictions: The predicted classes int64[N], by the name of the scaling.

    Raises:
        RecipeError: neither the model nor the photos say it, or they contradict each other.
    """
    expected = expectation(facts)
    choice = scaling_choice.choose(labels, predictions)
    if given is not None:
        return Decision(given, "given", _contradiction(given, "--scaling", choice))
    by_name = {scaling.name: scaling for scaling in SCALINGS}
    if expected is None:
        if choice.chosen is None or choice.equals:
            raise RecipeError(_question("The model does not say how its pixels are scaled, and", choice))
        return Decision(by_name[choice.chosen], "photos", (_shown(choice),))
    doubts = _contradiction(expected.scaling, expected.reason, choice)
    if doubts and expected.is_certain:
        raise RecipeError(_question(f"{doubts[0]}, so", choice))
    if doubts and choice.chosen:
        return Decision(by_name[choice.chosen], "photos", doubts)
    if not expected.is_certain and choice.chosen is None and not _is_best(expected.scaling, choice):
        raise RecipeError(_question(f"{expected.reason} ({expected.scaling.name}), but", choice))
    return Decision(
        expected.scaling, "model", (f"pixels are scaled to {expected.scaling.name}: {expected.reason}",)
    )


def _is_best(scaling: Scaling, choice: Choice) -> bool:
    right = {score.name: score.right for score in choice.scores}
    others = [count for name, count in right.items() if name != scaling.name]
    return right[scaling.name] > max(others, default=0)


def _contradiction(scaling: Scaling, reason: str, choice: Choice) -> tuple[str, ...]:
    """Return a sentence where the photos choose another scaling beyond doubt, else nothing."""
    if choice.chosen is None or scaling.name in (choice.chosen, *choice.equals):
        return ()
    scores = {score.name: score for score in choice.scores}
    best, other = scores[choice.chosen], scores[scaling.name]
    return (
        f"the photos fit the scaling {best.name} ({best.accuracy:.1%} of {best.images} right), not "
        f"{scaling.name} ({other.accuracy:.1%}; {reason})",
    )


def _shown(choice: Choice) -> str:
    best = choice.scores[0]
    return (
        f"pixels are scaled to {best.name}: {best.accuracy:.1%} of {best.images} photos are right with it, "
        "and fewer with every other scaling"
    )


def _question(begin: str, choice: Choice) -> str:
    """Return a message that asks for --scaling, with the table of what was tried."""
    equal = f"{choice.scores[0].images} labelled photos fit several scalings equally well"
    why = choice.reason or (equal if choice.equals else "both cannot be right")
    rows = [
        f"  --scaling {score.name:<12} {score.accuracy:6.1%} of {score.images} right"
        + (f", the same predictions as {score.equal_to}" if score.equal_to else "")
        for score in choice.scores
    ]
    advice = f"Give the scaling of the model's training, such as: --scaling {choice.scores[0].name}"
    return "\n".join([f"{begin} {why}.", *rows, advice])
