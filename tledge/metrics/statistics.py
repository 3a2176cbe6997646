"""The statistics behind verdicts, in plain Python and numpy, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""

BINS = 15
"""Bins of confidence, as many as Guo et al. 2017 report with."""


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), as (low, high) in 0..1.

    Raises ValueError where `trials` is not positive or `successes` not within 0..trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials is no proportion")
    share = successes / trials
    scale = 1 + z * z / trials
    middle = share + z * z / (2 * trials)
    spread = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else (middle - spread) / scale
    high = 1.0 if successes == trials else (middle + spread) / scale
    return low, high


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p of McNemar's test: binomial on the discordant pairs (McNemar 1947).

    `lost`: right before and wrong now; `won`: wrong before and right now.
    """
    discordant = lost + won
    if discordant == 0:
        return 1.0
    tail = sum(comb(discordant, k) for k in range(min(lost, won) + 1)) / 2**discordant
    return float(min(1.0, 2 * tail))


def paired_interval(
    before: NDArray[np.bool_], after: NDArray[np.bool_], *, seed: int = 0, rounds: int = 2000
) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of `accuracy(after) - accuracy(before)`.

    `before` and `after` are bool[N], right or wrong for the same images, which are resampled in
    pairs (Efron and Tibshirani 1993, chapter 13). Deterministic for a seed.
    """
    import numpy as np

    change = after.astype(np.int8) - before.astype(np.int8)
    counts = np.array([(change == value).sum() for value in (-1, 0, 1)])
    drawn = np.random.default_rng(seed).multinomial(len(change), counts / len(change), rounds)
    changes = (drawn[:, 2] - drawn[:, 0]) / len(change)
    low, high = np.quantile(changes, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Bin:
    """Answers whose confidence lies in (low, high]: how many, their mean confidence, the share right."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = BINS
) -> tuple[Bin, ...]:
    """Answers by confidence, in equally wide bins, each with its upper edge; empty bins are left out.

    `probabilities` are [N, classes], `labels` int64[N]. Raises ValueError where there is no image.
    """
    import numpy as np

    if not len(labels):
        raise ValueError("no image to tell confidence by")
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    place = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    return tuple(
        Bin(
            number / bins,
            (number + 1) / bins,
            int((place == number).sum()),
            float(confidence[place == number].mean()),
            float(right[place == number].mean()),
        )
        for number in np.unique(place).tolist()
    )


def calibration_error(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = BINS
) -> float:
    """Expected calibration error in 0..1 (Guo et al. 2017): how far confidence is from accuracy.

    The mean over the bins of `reliability` of |accuracy - mean confidence|, weighted by images.
    """
    found = reliability(probabilities, labels, bins)
    return sum(one.images * abs(one.accuracy - one.confidence) for one in found) / len(labels)


def confusion(labels: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How often each label (row) got each answer (column): int64[classes, classes]."""
    import numpy as np

    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts
