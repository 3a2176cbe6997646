"""How sure an answer is: a temperature, a threshold for "unsure", and what that costs and saves.

Both are fitted on validation photos at the end of training. Validation holds photos of the known
classes only, so nothing can be promised about other things: what is bounded is the price, the
share of right answers that are given up. Networks tend to be less sure of things of no class
(Hendrycks and Gimpel 2017). With 5 % given up, three models of recipes/rps.toml were unsure of .72
to .94 of flowers, one of bean leaves of .56, and one of flowers, right on .88, of .40 of bean leaves
and .07 of hands: a weak model has little doubt to spare.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tledge.contract import AbstentionPolicy
from tledge.run.records import Risk, RiskCoverage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TINY = 1.17549435e-38
"""Least normal float32: an int8 artifact's probability of zero counts as this."""

COLDEST, HOTTEST = 0.1, 10.0
"""Bounds of the temperature."""

COVERAGES = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Shares of photos answered that the table has lines for."""

COVERAGE_STEP, ERROR_STEP = 0.05, 0.02
"""An artifact that answers so much more or less than Keras, or errs so much more, gets a remark."""


def scaled(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """`softmax(log p / T)` of float32[..., classes], which is `p^(1/T)` divided by its sum.

    A probability is known up to the constant that the softmax took off its logit, so this is the
    temperature scaling of logits (Guo, Pleiss, Sun and Weinberger 2017). The order stays.
    """
    import numpy as np

    shares = np.maximum(probabilities.astype(np.float64), TINY)
    powers = (shares / shares.max(-1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T that fits probabilities float32[N, classes] to labels int64[N] best, by cross-entropy.

    A label counts for its class by 1 - 1/(N + 2) and for the others by the rest, as Platt (1999)
    has it. With whole labels, a validation split without a mistake sharpens probabilities without
    end: three models of recipes/rps.toml got T = .15, .1 and .1 instead of 2.0, 1.8 and 2.1, and on
    the test split up to nine times the cross-entropy of unscaled answers.
    """
    import numpy as np

    count, classes = probabilities.shape
    doubt = 1 / (count + 2)
    wanted = np.full((count, classes), doubt / max(1, classes - 1))
    wanted[np.arange(count), labels] = 1 - doubt

    def loss(log_temperature: float) -> float:
        shares = np.maximum(scaled(probabilities, math.exp(log_temperature)), TINY)
        return -float((wanted * np.log(shares)).sum())

    return math.exp(_least(loss, math.log(COLDEST), math.log(HOTTEST)))


def _least(value: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is least, to 1e-6, by golden sections (Kiefer 1953)."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = value(left), value(right)
    while high - low > 1e-6:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = value(right)
    return (low + high) / 2


def threshold(sure: NDArray[np.float64], right: NDArray[np.bool_], give_up: float) -> float:
    """The least confidence for an answer: of n right answers, the k-th least sure one's.

    `sure` is float[N] in 0..1, `right` bool[N]. k is `give_up` of n + 1 rounded down, at least 1. A
    new right answer falls below with a probability of at most k / (n + 1), whatever the network:
    split conformal prediction (Vovk, Gammerman and Shafer 2005), as far as new photos are like
    these. Without `give_up`, or where nothing is right, it is 0: every photo is answered.

    The default gives up 5 %, as is usual in measuring how well unknown things are told from known
    ones (Liang, Li and Srikant 2018). A bound on the error among the answered (Geifman and El-Yaniv
    2017) would be no use here: where validation has no mistakes every threshold meets it, and a
    weak model would hardly answer.
    """
    import numpy as np

    known = np.sort(sure[right])
    if not give_up or not len(known):
        return 0.0
    place = max(1, math.floor(give_up * (len(known) + 1)))
    return math.floor(float(known[min(place, len(known)) - 1]) * 1e4) / 1e4


def fit(probabilities: NDArray[np.float32], labels: NDArray[np.int64], give_up: float) -> AbstentionPolicy:
    """Temperature and threshold of Keras' probabilities float32[N, classes] for labels int64[N]."""
    heat = round(temperature(probabilities, labels), 4)
    sure = scaled(probabilities, heat).max(-1)
    least = threshold(sure, probabilities.argmax(-1) == labels, give_up)
    found = AbstentionPolicy(heat, least, len(labels))
    coverage, error = answered(probabilities, labels, found)
    return replace(found, coverage=coverage, error=error)


def answered(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], fitted: AbstentionPolicy
) -> tuple[float, float]:
    """The share of photos answered, and of these the share wrong (0 where none is answered)."""
    sure = scaled(probabilities, fitted.temperature).max(-1) >= fitted.threshold
    wrong = probabilities.argmax(-1) != labels
    return float(sure.mean()), float(wrong[sure].mean()) if sure.any() else 0.0


def risk_coverage(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], temperature: float
) -> RiskCoverage:
    """Error among the answered when the least sure photos are left out (El-Yaniv and Wiener 2010).

    Photos as sure as one another are answered together, so a line may cover more than its name says.
    """
    import numpy as np

    sure = scaled(probabilities, temperature).max(-1)
    order = np.argsort(-sure, kind="stable")
    wrong = np.cumsum((probabilities.argmax(-1) != labels)[order])
    errors = wrong / np.arange(1, len(order) + 1)
    rows = []
    for share in COVERAGES:
        least = sure[order][math.ceil(share * len(order) - 1e-9) - 1]
        count = int((sure >= least).sum())
        rows.append(Risk(float(least), count / len(order), float(errors[count - 1])))
    return RiskCoverage(float(errors.mean()), tuple(rows))


def remarks(before: tuple[float, float], after: tuple[float, float], images: int) -> tuple[str, ...]:
    """What to say of an artifact that is unsure of other photos than Keras; mostly nothing.

    Both are (coverage, error among the answered) on so many images; a single image says nothing.
    It is no gate: the gates hold every answer to Keras', and a bundle states these figures.
    """
    made = []
    if abs(after[0] - before[0]) > max(COVERAGE_STEP, 1.5 / images):
        made.append(f"answers {after[0]:.1%} of the photos, being sure enough; Keras {before[0]:.1%}")
    if after[1] - before[1] > max(ERROR_STEP, 1.5 / images):
        made.append(f"of what it answers, {after[1]:.1%} is wrong; Keras {before[1]:.1%}")
    return tuple(made)
