"""Decide by more images than the test split where its images are too few: agreement needs no labels.

Any image that neither trained the model nor chose its quantization shows whether an artifact predicts as the
reference model does. The accuracy on a set of images never changes by more than the share of them on which
the two disagree, so agreement bounds the change of accuracy as well.

Altered copies of an image (mirrored, darker, cropped) are predicted alike far more often than other images,
so an image counts once, with the share of its copies that agree. Its copies can make the evidence weaker and
never more than one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from tledge.config import Parity
from tledge.metrics import parity_gates, statistics
from tledge.metrics.parity_gates import Judgement, PredictionComparison

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class IndependentAgreement:
    """Agreement on independent images; shares in 0..1.

    Attributes:
        images: Number of independent images; copies of one image count once.
        agreement: Mean over the images of the share of their copies that agree.
        low: Lower end of the exact 95 % interval, as `high` is the upper one.
        confirmed: The agreement that is confirmed with 95 % confidence: the one-sided lower bound.
    """

    images: int
    agreement: float
    low: float
    high: float
    confirmed: float


def agreement_by_image(same: NDArray[np.bool_], image: NDArray[np.int64]) -> IndependentAgreement:
    """Compute the agreement on independent images.

    `same` bool[M] says of each prediction whether the artifact and the reference model agree; `image`
    int64[M] is the number of the independent image that it belongs to, from 0 on, without gaps.
    """
    import numpy as np

    shares = np.bincount(image, weights=same) / np.bincount(image)
    images, agreeing = len(shares), float(shares.sum())
    low, high = statistics.clopper_pearson(agreeing, images)
    return IndependentAgreement(images, agreeing / images, low, high, _confirmed(agreeing, images))


def _confirmed(agreeing: float, images: int) -> float:
    """Compute the one-sided 95 % lower bound: the lower end of the two-sided 90 % interval."""
    return statistics.clopper_pearson(agreeing, images, confidence=0.9)[0]


def decide(
    found: IndependentAgreement, comparison: PredictionComparison, gate: str, limits: Parity
) -> Judgement | None:
    """Decide about an artifact for which the test images of `comparison` are too few; None where it cannot.

    It passes where the required agreement is confirmed with 95 % confidence and, for the gates of int8, the
    accuracy can have dropped by no more than is allowed. It fails where the whole 95 % interval is below the
    gate.
    """
    required = parity_gates.required_agreement(gate, limits)
    if found.high < required:
        return "failed", (
            f"agrees with Keras on {found.agreement:.1%} of {found.images} independent images; at least "
            f"{parity_gates.percent(required)} is required, and even the upper end of the 95% interval, "
            f"{found.high:.1%}, is below",
        )
    if found.confirmed < required or not _drop_is_allowed(found, comparison, gate, limits):
        return None
    return "passed", ()


def _drop_is_allowed(
    found: IndependentAgreement, comparison: PredictionComparison, gate: str, limits: Parity
) -> bool:
    """Check the largest drop that is possible: whatever differs was right before and is wrong now."""
    if gate != "int8":
        return True
    allowed = parity_gates.allowed_drop(comparison, limits)
    enough = found.images >= parity_gates.images_to_resolve(allowed)
    return enough and 1 - found.agreement <= allowed + parity_gates.ROUNDING


def images_needed(
    found: IndependentAgreement, comparison: PredictionComparison, gate: str, limits: Parity
) -> int:
    """Count the independent images that let it pass if no other one disagrees; 0 for a gate of 1."""
    required = parity_gates.required_agreement(gate, limits)
    if required >= 1:
        return 0
    needed = images_to_confirm(found, required)
    allowed = parity_gates.allowed_drop(comparison, limits)
    if gate != "int8" or allowed <= 0:
        return needed
    disagreeing = found.images * (1 - found.agreement)
    return max(needed, parity_gates.images_to_resolve(allowed), ceil(disagreeing / allowed - 1e-9))


def images_to_confirm(found: IndependentAgreement, required: float) -> int:
    """Count the independent images that confirm an agreement below 1, if no other one disagrees."""
    disagreeing = found.images * (1 - found.agreement)
    low, high = found.images, 2 * found.images
    while _confirmed(high - disagreeing, high) < required:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        is_enough = _confirmed(middle - disagreeing, middle) >= required
        low, high = (low, middle) if is_enough else (middle, high)
    return high
