"""Compute the statistics behind verdicts, each with its source.

In plain Python and numpy, without SciPy: a device install has numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, exp, lgamma, log, log1p, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""

BINS = 15
"""Number of confidence bins, that of Guo et al. 2017."""


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Compute the score interval of a proportion (Wilson 1927), as (low, high) in 0..1.

    With p = successes / trials and n = trials: (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n).
    Raises ValueError where `trials` is not positive or `successes` not within 0..trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials are no proportion")
    share = successes / trials
    scale = 1 + z * z / trials
    middle = share + z * z / (2 * trials)
    spread = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else (middle - spread) / scale
    high = 1.0 if successes == trials else (middle + spread) / scale
    return low, high


def clopper_pearson(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the exact interval of a proportion (Clopper and Pearson 1934), as (low, high) in 0..1.

    The bounds are quantiles of beta distributions, so `successes` may be a sum of shares of clusters, each
    counted as one trial (Korn and Graubard 1998, with the number of clusters as the largest effective sample
    size). Raises ValueError where `trials` is not positive or `successes` not within 0..trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials are no proportion")
    tail, failures = (1 - confidence) / 2, trials - successes
    low = 0.0 if successes == 0 else _beta_quantile(tail, successes, failures + 1)
    high = 1.0 if failures == 0 else _beta_quantile(1 - tail, successes + 1, failures)
    return low, high


def _beta_quantile(probability: float, a: float, b: float) -> float:
    """Find by bisection where the distribution function of Beta(a, b) reaches a probability."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_below(middle, a, b) < probability else (low, middle)
    return (low + high) / 2


def _beta_below(x: float, a: float, b: float) -> float:
    """Compute the distribution function of Beta(a, b) for 0 < x < 1: DLMF 8.17.22, a continued fraction."""
    if x > (a + 1) / (a + b + 2):  # it converges fast on the other side
        return 1 - _beta_below(1 - x, b, a)
    scale = lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)
    fraction, terms = 1.0, 20 + round(3 * sqrt(max(a, b)))
    for m in range(terms, 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        fraction = 1 + even / (1 + odd / fraction)
    first = -(a + b) * x / (a + 1)
    return exp(scale) / (a * (1 + first / fraction))


def mcnemar(regressions: int, fixes: int) -> float:
    """Compute the exact two-sided p of McNemar's test: binomial on the discordant pairs (McNemar 1947).

    `regressions` are images right before and wrong now, `fixes` wrong before and right now. With n of both
    and k the smaller count: p = min(1, 2 * sum of C(n, i) / 2^n over i = 0..k); 1 for n = 0.
    """
    discordant = regressions + fixes
    tail = sum(comb(discordant, k) for k in range(min(regressions, fixes) + 1)) / 2**discordant
    return float(min(1.0, 2 * tail))


def fisher(right_a: int, images_a: int, right_b: int, images_b: int) -> float:
    """Compute the exact two-sided p that two proportions of different images are equal (Fisher 1935).

    With all margins of the 2 x 2 table fixed, the count of `right_a` is hypergeometric; p is the sum over
    all counts that are at most as probable as the one found (as R's `fisher.test` and SciPy define it).
    Raises ValueError where a count is not within its images.
    """
    if not (0 <= right_a <= images_a and 0 <= right_b <= images_b):
        raise ValueError(f"{right_a} of {images_a} or {right_b} of {images_b} is no proportion")
    right, total = right_a + right_b, images_a + images_b
    low, high = max(0, right - images_b), min(right, images_a)
    logs = [
        _log_choose(images_a, count) + _log_choose(images_b, right - count) for count in range(low, high + 1)
    ]
    whole = _log_choose(total, right)
    limit = logs[right_a - low] + 1e-7
    return min(1.0, sum(exp(value - whole) for value in logs if value <= limit))


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)


def paired_interval(
    before: NDArray[np.bool_], after: NDArray[np.bool_], *, seed: int = 0, rounds: int = 2000
) -> tuple[float, float]:
    """Compute the 95 % percentile-bootstrap interval of `accuracy(after) - accuracy(before)`.

    `before` and `after` are bool[N], right or wrong for the same images, which are resampled in pairs
    `rounds` times (Efron and Tibshirani 1993, chapter 13). Returns (low, high) in -1..1, reproducible for
    a seed.
    """
    import numpy as np

    change = after.astype(np.int8) - before.astype(np.int8)
    counts = np.array([(change == value).sum() for value in (-1, 0, 1)])
    resampled = np.random.default_rng(seed).multinomial(len(change), counts / len(change), rounds)
    changes = (resampled[:, 2] - resampled[:, 0]) / len(change)
    low, high = np.quantile(changes, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Bin:
    """Predictions with a confidence in (low, high]: how many, their mean confidence, the share right."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = BINS
) -> tuple[Bin, ...]:
    """Group predictions by confidence in equally wide bins, each with its upper edge.

    Empty bins are left out. `probabilities` is float32[N, classes], `labels` int64[N]. Raises ValueError
    without images.
    """
    import numpy as np

    if not len(labels):
        raise ValueError("no images to measure confidence on")
    confidence = probabilities.max(1).astype(np.float64)
    is_right = probabilities.argmax(1) == labels
    numbers = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    return tuple(
        Bin(
            number / bins,
            (number + 1) / bins,
            int((numbers == number).sum()),
            float(confidence[numbers == number].mean()),
            float(is_right[numbers == number].mean()),
        )
        for number in np.unique(numbers).tolist()
    )


def calibration_error(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = BINS
) -> float:
    """Compute the expected calibration error in 0..1 (Guo et al. 2017): how far confidence is from accuracy.

    The mean over the bins of `reliability` of |accuracy - mean confidence|, weighted by their images.
    """
    filled = reliability(probabilities, labels, bins)
    return sum(group.images * abs(group.accuracy - group.confidence) for group in filled) / len(labels)


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count how often each label (row) was predicted as each class (column): int64[classes, classes]."""
    import numpy as np

    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts
