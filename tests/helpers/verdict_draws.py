"""Draw predictions of models whose true agreement is known, and count how often each rule lets them pass.

`python -m tests.helpers.verdict_draws` prints the table of docs/explanation/parity.md.

A model is a true agreement p. Image i has a liking u_i, copy j of it an own one e_ij, both normal; the
prediction for the copy differs from Keras' where sqrt(r) u_i + sqrt(1 - r) e_ij is among the lowest 1 - p. So
each copy disagrees with probability 1 - p, and r is how much the copies of an image have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tledge.config import Parity
from tledge.metrics import independent_evidence, parity_gates, statistics
from tledge.metrics.independent_evidence import IndependentAgreement
from tledge.metrics.parity_gates import PredictionComparison

LIMITS = Parity()
TEST_IMAGES = (27, 36, 63, 90, 180)
COPIES = 4


@dataclass(frozen=True)
class Rates:
    """Shares of draws that pass: by the rule before, by the new one, and if copies counted as images."""

    before: float
    now: float
    naive: float


def compared(images: int, disagreeing: int) -> PredictionComparison:
    """The comparison on the test images alone; every disagreement is a regression, the worst case."""
    share = 1 - disagreeing / images
    low, high = statistics.wilson(images - disagreeing, images)
    return PredictionComparison(
        images, share, 1.0, share - 1, low - 1, high - 1, 1.0, share, low, high, 0.5, "", 0.0, ()
    )


@cache
def verdict(images: int, disagreeing: int) -> str:
    return parity_gates.check_parity(compared(images, disagreeing), "int8", LIMITS)[0]


@cache
def passes(images: int, hundredths: int, test_images: int) -> bool:
    """Whether this many independent images, of which some hundredths disagree, pass the gates of int8."""
    agreeing = images - hundredths / 100
    confirmed = statistics.clopper_pearson(agreeing, images, confidence=0.9)[0]
    found = IndependentAgreement(
        images, agreeing / images, 0.0, 1.0, confirmed
    )  # high only tells what failed
    decided = independent_evidence.decide(found, compared(test_images, 0), "int8", LIMITS)
    return decided is not None and decided[0] == "passed"


def rates(
    agreement: float, images: int, more: int = 0, *, common: float = 0.6, draws: int = 1000, seed: int = 0
) -> Rates:
    """Draw `images` test images with their copies, and `more` images without; return the shares that pass."""
    rng = np.random.default_rng(seed)
    limit = NormalDist().inv_cdf(1 - agreement)
    liking = np.sqrt(common) * rng.standard_normal((draws, images, 1), np.float32)
    own = np.sqrt(1 - common) * rng.standard_normal((draws, images, 1 + COPIES), np.float32)
    differs = liking + own < limit
    others = rng.binomial(more, 1 - agreement, draws)
    on_test = differs[:, :, 0].sum(1)
    by_image = np.round(100 * differs.mean(2).sum(1)).astype(int) + 100 * others
    by_copy = 100 * (differs.sum((1, 2)) + others)
    before = np.array([verdict(images, count) for count in on_test.tolist()])
    return Rates(
        float((before == "passed").mean()),
        _share(before, by_image, images + more, images),
        _share(before, by_copy, images * (1 + COPIES) + more, images),
    )


def _share(before: NDArray[np.str_], hundredths: NDArray[np.int64], images: int, test_images: int) -> float:
    """The share that passes where the test images decide or, if they are too few, all images do."""
    decided = [
        word == "passed" or (word == "undecided" and count < 300 and passes(images, count, test_images))
        for word, count in zip(before.tolist(), hundredths.tolist(), strict=True)
    ]
    return float(np.mean(decided))


AGREEMENTS = (0.96, 0.975, 0.9799, 0.99, 0.998)
"""The true agreements of the table; the gate of int8 is 0.98."""


def table(draws: int = 10_000) -> list[str]:
    """The rows of the table in the docs: before -> now, and what copies as images would do below the gate."""
    rows = []
    for images in TEST_IMAGES:
        for more in (0, 150, 300) if images < 100 else (0,):
            found = {each: rates(each, images, more, draws=draws) for each in AGREEMENTS}
            shares = [f"{each.before:.1%} → {each.now:.1%}" for each in found.values()]
            rows.append(f"| {' | '.join([str(images), str(more), *shares, f'{found[0.9799].naive:.1%}'])} |")
    return rows


if __name__ == "__main__":
    print("\n".join(table()))
