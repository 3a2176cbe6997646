"""Decide when a prediction is too unsure to count: a temperature, a confidence threshold, and their cost.

Both are fitted on the validation split at the end of training. It holds photos of the known classes
only, so nothing can be guaranteed about out-of-distribution images; what is bounded is the price, the
share of correct predictions that are rejected. Networks tend to be less confident on out-of-distribution
images (Hendrycks and Gimpel 2017). With 5 % of the correct predictions rejected, four models of
recipes/rps.toml rejected .67 to .94 of flowers, one of bean leaves .56, and one of flowers, right on
.88, .40 of bean leaves and .07 of hands: a weak model separates little.
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

LEAST_RANK, CERTAINTY = 3, 0.95
"""What a threshold needs: to be at least the third-lowest confidence of a correct prediction, and with this
probability to reject below twice the share that it may."""

COVERAGES = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Coverages that the risk-coverage table has rows for."""

COVERAGE_STEP, ERROR_STEP = 0.05, 0.02
"""Differences of coverage and of selective error from Keras above which an artifact gets a remark."""


def temperature_scaled(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Scale probabilities float32[..., classes] by a temperature: `softmax(log p / T)`.

    That is `p^(1/T)` divided by its sum, and equals the temperature scaling of logits (Guo, Pleiss, Sun and
    Weinberger 2017): `log p` is the logit up to the constant that the softmax takes off. The order of the
    classes stays.
    """
    import numpy as np

    shares = np.maximum(probabilities.astype(np.float64), TINY)
    powers = (shares / shares.max(-1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def confidences(
    probabilities: NDArray[np.float32], policy: AbstentionPolicy | None
) -> NDArray[np.float32] | NDArray[np.float64]:
    """Return the number to show for each class; without a policy the probabilities themselves.

    This is the one number of a prediction: every command, page and device project shows it.
    """
    return probabilities if policy is None else temperature_scaled(probabilities, policy.temperature)


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Fit the temperature in 0.1..10 with the least cross-entropy.

    Args:
        probabilities: float32[N, classes].
        labels: int64[N]. A label counts for its class by 1 - 1/(N + 2) and for the others by the rest
            (Platt 1999). With hard labels, a validation split without a mistake sharpens probabilities
            without end: three models of recipes/rps.toml got T = .15, .1 and .1 instead of 2.0, 1.8 and
            2.1, and on the test split up to nine times the cross-entropy of unscaled probabilities.
    """
    import numpy as np

    count, classes = probabilities.shape
    doubt = 1 / (count + 2)
    targets = np.full((count, classes), doubt / max(1, classes - 1))
    targets[np.arange(count), labels] = 1 - doubt

    def loss(log_temperature: float) -> float:
        shares = np.maximum(temperature_scaled(probabilities, math.exp(log_temperature)), TINY)
        return -float((targets * np.log(shares)).sum())

    return math.exp(_minimize(loss, math.log(COLDEST), math.log(HOTTEST)))


def _minimize(function: Callable[[float], float], low: float, high: float) -> float:
    """Find the minimum of a unimodal function, to 1e-6, by golden-section search (Kiefer 1953)."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-6:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2


def fit_threshold(
    confidences: NDArray[np.float64], is_right: NDArray[np.bool_], rejected_share: float
) -> float:
    """Choose the confidence threshold below which predictions are rejected.

    It is the k-th lowest confidence of the n correct predictions, k = floor(`rejected_share` * (n + 1)), at
    least 1. A new correct prediction falls below it with a probability of at most k / (n + 1), whatever the
    network: split conformal prediction (Vovk, Gammerman and Shafer 2005), as far as new photos are like
    these. The usual 5 % is that of out-of-distribution detection (Liang, Li and Srikant 2018). A bound on
    the error among accepted predictions (Geifman and El-Yaniv 2017) would be of no use: where validation
    has no mistakes every threshold meets it, and a weak model would reject nearly everything.

    Args:
        confidences: float64[N] in 0..1.
        is_right: bool[N], whether the prediction is correct.
        rejected_share: Share of correct predictions that may be rejected, in 0..1.

    Returns:
        The threshold, rounded down to four decimals; 0 (nothing is rejected) where `rejected_share` is 0 or
        no prediction is correct.
    """
    import numpy as np

    of_right = np.sort(confidences[is_right])
    if not rejected_share or not len(of_right):
        return 0.0
    rank = max(1, math.floor(rejected_share * (len(of_right) + 1)))
    return math.floor(float(of_right[min(rank, len(of_right)) - 1]) * 1e4) / 1e4


def fit_abstention(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], rejected_share: float
) -> AbstentionPolicy:
    """Fit temperature and threshold to probabilities float32[N, classes] and labels int64[N].

    The threshold is 0, and the policy's `reason` says why, where no share may be rejected, where too few
    predictions are correct (`correct_needed`), or where the threshold would reject nothing.
    """
    temperature = round(fit_temperature(probabilities, labels), 4)
    confidences = temperature_scaled(probabilities, temperature).max(-1)
    is_right = probabilities.argmax(-1) == labels
    reason = _why_not_set(int(is_right.sum()), len(labels), rejected_share)
    threshold = 0.0 if reason else fit_threshold(confidences, is_right, rejected_share)
    if not reason and (confidences >= threshold).all():
        threshold, reason = 0.0, f"it would reject none of {len(labels)} validation photos"
    policy = AbstentionPolicy(temperature, threshold, len(labels), reason=reason)
    coverage, error = coverage_and_error(probabilities, labels, policy)
    return replace(policy, coverage=coverage, error=error)


def _why_not_set(right: int, images: int, rejected_share: float) -> str:
    """Return why no threshold is set for so many correct predictions; empty where one can be fitted."""
    if not rejected_share:
        return "[abstain] give_up is 0"
    needed = correct_needed(rejected_share)
    if right >= needed:
        return ""
    return f"{right} of {images} validation photos are predicted correctly, and a threshold needs {needed}"


def correct_needed(rejected_share: float) -> int:
    """Return how many correct predictions it takes to fit a threshold.

    Of new correct predictions, a threshold of rank k among n rejects a share that is Beta(k, n + 1 - k)
    distributed (Vovk 2012): on average at most `rejected_share`, and with few photos anything from none to
    three times as much. So many are needed that it stays below twice the share with 95 % probability, and
    that more photos never unset it: 61 for 5 %, 30 for 10 %, 313 for 1 %.
    """
    count = math.ceil(round(LEAST_RANK / rejected_share, 6)) - 1
    while _below_twice(count, rejected_share) < CERTAINTY:
        count += 1
    return count


def _below_twice(count: int, rejected_share: float) -> float:
    """Compute the probability that a threshold of `count` correct predictions rejects below twice the share.

    That is the probability that a binomial variable of `count` draws reaches the threshold's rank.
    """
    share = 2 * rejected_share
    if share >= 1:
        return 1.0
    rank = math.floor(rejected_share * (count + 1))
    fewer = (math.comb(count, hits) * share**hits * (1 - share) ** (count - hits) for hits in range(rank))
    return 1 - sum(fewer)


def coverage_and_error(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], policy: AbstentionPolicy
) -> tuple[float, float]:
    """Compute the coverage (share of accepted predictions) and the selective error (share of these wrong).

    `probabilities` is float32[N, classes], `labels` int64[N]. The error is 0 where nothing is accepted.
    """
    is_accepted = temperature_scaled(probabilities, policy.temperature).max(-1) >= policy.threshold
    is_wrong = probabilities.argmax(-1) != labels
    error = float(is_wrong[is_accepted].mean()) if is_accepted.any() else 0.0
    return float(is_accepted.mean()), error


def risk_coverage(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], temperature: float
) -> RiskCoverage:
    """Compute the selective error at the coverages `COVERAGES` (El-Yaniv and Wiener 2010).

    `probabilities` is float32[N, classes], `labels` int64[N]. Equally confident predictions are accepted
    together, so a row may cover more than its name says.
    """
    import numpy as np

    confidences = temperature_scaled(probabilities, temperature).max(-1)
    order = np.argsort(-confidences, kind="stable")
    wrong = np.cumsum((probabilities.argmax(-1) != labels)[order])
    errors = wrong / np.arange(1, len(order) + 1)
    rows = []
    for coverage in COVERAGES:
        threshold = confidences[order][math.ceil(coverage * len(order) - 1e-9) - 1]
        accepted = int((confidences >= threshold).sum())
        rows.append(Risk(float(threshold), accepted / len(order), float(errors[accepted - 1])))
    return RiskCoverage(float(errors.mean()), tuple(rows))


def coverage_remarks(
    reference: tuple[float, float], artifact: tuple[float, float], images: int
) -> tuple[str, ...]:
    """Describe how an artifact rejects other photos than Keras does; mostly there is nothing to say.

    Both are (coverage, selective error) on so many images; a single image makes no remark. This is no gate:
    the gates hold every prediction to Keras', and a bundle states these figures.
    """
    texts = []
    if abs(artifact[0] - reference[0]) > max(COVERAGE_STEP, 1.5 / images):
        texts.append(f"coverage at the confidence threshold {artifact[0]:.1%}; Keras {reference[0]:.1%}")
    if artifact[1] - reference[1] > max(ERROR_STEP, 1.5 / images):
        texts.append(f"selective error {artifact[1]:.1%}; Keras {reference[1]:.1%}")
    return tuple(texts)
