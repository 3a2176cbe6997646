"""Compare an artifact's predictions with the reference model's, and check them against the parity gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from tledge.config import Parity
from tledge.metrics import statistics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MIN_CLASS_IMAGES = 20
"""Smallest number of images for which a class has a gate: with fewer, one image weighs over 5 points."""

MAX_LISTED_CLASSES = 5
"""Largest number of classes that a reason lists by name."""

CONSTANT_TOLERANCE = 1e-6
"""Probabilities that differ by less over all images come from a model that ignores its input."""

ROUNDING = 1e-12
"""Floating-point error that no gate counts."""

RecallPair = tuple[int, float, float]
"""Images of a class; its recall by the reference model; its recall by the artifact."""

Finding = tuple[str, str]
"""Why a gate is not passed: the verdict, "failed" or "undecided", and its reason."""

Judgement = tuple[str, tuple[str, ...]]
"""Verdict "passed", "failed" or "undecided", and its reasons."""


@dataclass(frozen=True)
class PredictionComparison:
    """An artifact's predictions compared with the reference model's on the same images; shares in 0..1.

    Attributes:
        accuracy_change: Accuracy minus reference accuracy; `_low`, `_high` are its 95 % bootstrap interval.
        mcnemar_p: Exact two-sided p of McNemar's test on regressions and fixes.
        agreement: Share of images with the same predicted class, with its 95 % Wilson bounds.
        max_abs_dp: Largest absolute difference of a probability.
        worst_class: Class of at least `MIN_CLASS_IMAGES` images whose recall fell most, or "".
        vanished_classes: Classes predicted twice or more by the reference model and never by the artifact.
        constant_class: The class that the artifact predicts for every image, where the reference model
            predicts another one at least twice; else "".
        reference_constant_class: The class that the reference model predicts for every image, of several
            labels; else "". Agreement then proves nothing.
        regressions: Images that the reference model predicts right and the artifact wrong.
        fixes: Images that the reference model predicts wrong and the artifact right.
        still_wrong: Images that both predict wrong, and differently.
        ece: Expected calibration error of the artifact.
        recall: Recall of every class that has images.
        reference_varies: False where the reference model gives the same probabilities for all of two or more
            images.
    """

    images: int
    accuracy: float
    reference_accuracy: float
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float
    mcnemar_p: float
    agreement: float
    agreement_low: float
    agreement_high: float
    max_abs_dp: float
    worst_class: str
    worst_class_change: float
    vanished_classes: tuple[str, ...]
    constant_class: str = ""
    reference_constant_class: str = ""
    regressions: int = 0
    fixes: int = 0
    still_wrong: int = 0
    ece: float = 0.0
    recall: dict[str, RecallPair] = field(default_factory=dict)
    reference_varies: bool = True


def compare_predictions(
    labels: NDArray[np.int64],
    reference: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    names: tuple[str, ...],
) -> PredictionComparison:
    """Compare an artifact's probabilities float32[N, classes] with the reference model's.

    `labels` is int64[N], the class of every image; `names` are the labels of all classes.
    """
    import numpy as np

    before, after = reference.argmax(1), probabilities.argmax(1)
    was_right, is_right = before == labels, after == labels
    same = int((before == after).sum())
    low, high = statistics.wilson(same, len(labels))
    change_low, change_high = statistics.paired_interval(was_right, is_right)
    recall = _recall(labels, was_right, is_right, names)
    worst_class, worst_change = _worst_class(recall)
    regressions, fixes = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
    return PredictionComparison(
        images=len(labels),
        accuracy=float(is_right.mean()),
        reference_accuracy=float(was_right.mean()),
        accuracy_change=(fixes - regressions) / len(labels),
        accuracy_change_low=change_low,
        accuracy_change_high=change_high,
        mcnemar_p=statistics.mcnemar(regressions, fixes),
        agreement=same / len(labels),
        agreement_low=low,
        agreement_high=high,
        max_abs_dp=float(np.abs(reference - probabilities).max()),
        worst_class=worst_class,
        worst_class_change=worst_change,
        vanished_classes=_vanished_classes(before, after, names),
        constant_class=_constant_class(before, after, names),
        reference_constant_class=_reference_constant_class(before, labels, names),
        reference_varies=len(labels) < 2 or bool((np.ptp(reference, axis=0) >= CONSTANT_TOLERANCE).any()),
        regressions=regressions,
        fixes=fixes,
        still_wrong=len(labels) - same - regressions - fixes,
        ece=statistics.calibration_error(probabilities, labels),
        recall=recall,
    )


def _vanished_classes(
    before: NDArray[np.int64], after: NDArray[np.int64], names: tuple[str, ...]
) -> tuple[str, ...]:
    """List the classes that are predicted twice or more `before` and never `after`."""
    return tuple(
        name
        for index, name in enumerate(names)
        if (before == index).sum() >= 2 and not (after == index).any()
    )


def _constant_class(before: NDArray[np.int64], after: NDArray[np.int64], names: tuple[str, ...]) -> str:
    """Name the one class predicted `after`, where `before` another one is predicted twice or more."""
    is_constant = (after == after[0]).all() and (before != after[0]).sum() >= 2
    return names[after[0]] if is_constant else ""


def _reference_constant_class(
    before: NDArray[np.int64], labels: NDArray[np.int64], names: tuple[str, ...]
) -> str:
    """Name the one class predicted `before` for images of several labels."""
    is_constant = (before == before[0]).all() and (labels != labels[0]).any()
    return names[before[0]] if is_constant else ""


def _recall(
    labels: NDArray[np.int64],
    was_right: NDArray[np.bool_],
    is_right: NDArray[np.bool_],
    names: tuple[str, ...],
) -> dict[str, RecallPair]:
    """Count the images of each class that has any, with its recall before and after."""
    import numpy as np

    total, before, after = (
        np.bincount(part, minlength=len(names)).tolist()
        for part in (labels, labels[was_right], labels[is_right])
    )
    return {
        name: (count, before[index] / count, after[index] / count)
        for index, (name, count) in enumerate(zip(names, total, strict=True))
        if count
    }


def _worst_class(recall: Mapping[str, RecallPair]) -> tuple[str, float]:
    """Find the class whose recall fell most, and the change; smaller than `MIN_CLASS_IMAGES` do not count."""
    changes = [
        (after - before, name)
        for name, (images, before, after) in recall.items()
        if images >= MIN_CLASS_IMAGES
    ]
    change, name = min(changes, default=(0.0, ""))
    return name, change


def check_parity(comparison: PredictionComparison, gate: str, limits: Parity) -> Judgement:
    """Check an artifact against the gates of its kind: `gate` is "float", "fp16" or "int8".

    A failed gate outweighs an inconclusive one; only the reasons of the given verdict are returned.
    """
    findings = [
        *agreement_findings(comparison, required_agreement(gate, limits)),
        *_probabilities(comparison, gate, limits),
    ]
    if gate == "int8":
        findings += [*_accuracy(comparison, limits, "Keras"), *_class_recall(comparison, limits)]
    return judgement([*findings, *_missing_classes(comparison), *_uninformative(comparison, gate)])


def check_replacement(comparison: PredictionComparison, limits: Parity, replaced: str) -> Judgement:
    """Check a newly trained model against the model `replaced`, whose place it is to take.

    Accuracy and recall have gates; agreement has none, since training anew changes predictions.
    """
    return judgement(
        [
            *_accuracy(comparison, limits, replaced),
            *_class_recall(comparison, limits),
            *_missing_classes(comparison),
        ]
    )


def judgement(findings: Sequence[Finding]) -> Judgement:
    """Return the gravest verdict among the findings, with its reasons; "passed" without findings."""
    for verdict in ("failed", "undecided"):
        if reasons := tuple(reason for kind, reason in findings if kind == verdict):
            return verdict, reasons
    return "passed", ()


def images_to_resolve(tolerance: float) -> int:
    """Count the images below which a single changed prediction exceeds `tolerance`: ceil(1 / tolerance)."""
    return ceil(1 / tolerance - 1e-9) if tolerance > 0 else 0


def images_needed(comparison: PredictionComparison, gate: str, limits: Parity) -> int:
    """Count the images from which on `check_parity` is never inconclusive for lack of images."""
    return needed_test_images(comparison.reference_accuracy, gate, limits)


def needed_test_images(reference_accuracy: float, gate: str, limits: Parity) -> int:
    """Count the test images from which on a gate is decided by them alone."""
    needed = images_to_resolve(1 - required_agreement(gate, limits))
    if gate != "int8":
        return needed
    return max(needed, images_to_resolve(_allowed_drop_from(reference_accuracy, limits)))


def lacks_only_images(comparison: PredictionComparison, gate: str, limits: Parity) -> bool:
    """Check whether `check_parity` is inconclusive for no other reason than too few images."""
    is_undecided = check_parity(comparison, gate, limits)[0] == "undecided"
    return is_undecided and not any(_uninformative(comparison, gate))


def required_agreement(gate: str, limits: Parity) -> float:
    """Return the least agreement that a gate, "float", "fp16" or "int8", accepts."""
    return {
        "float": limits.float_agreement,
        "fp16": limits.fp16_agreement,
        "int8": limits.int8_agreement,
    }[gate]


def allowed_drop(comparison: PredictionComparison, limits: Parity) -> float:
    """Return the largest accuracy drop that both limits allow: the absolute and the relative one."""
    return _allowed_drop_from(comparison.reference_accuracy, limits)


def _allowed_drop_from(reference_accuracy: float, limits: Parity) -> float:
    return min(limits.max_drop, (1 - limits.int8_accuracy) * reference_accuracy)


def agreement_findings(comparison: PredictionComparison, required: float) -> Iterator[Finding]:
    """Check the agreement; inconclusive where one image is more than `required` allows."""
    needed = images_to_resolve(1 - required)
    same = round(comparison.agreement * comparison.images)
    agrees = f"agrees with Keras on {same} of {comparison.images} images ({comparison.agreement:.1%})"
    if comparison.images >= needed:
        if comparison.agreement < required:
            yield "failed", f"{agrees}; at least {percent(required)} is required"
    elif comparison.agreement_high < required:
        yield (
            "failed",
            f"{agrees}; at least {percent(required)} is required, and even the upper end of the 95% "
            f"interval, {comparison.agreement_high:.1%}, is below",
        )
    else:
        yield (
            "undecided",
            f"inconclusive: {agrees}; confirming at least {percent(required)} needs at least {needed} images",
        )


def _probabilities(comparison: PredictionComparison, gate: str, limits: Parity) -> Iterator[Finding]:
    if gate == "float" and comparison.max_abs_dp > limits.float_max_dp:
        yield (
            "failed",
            f"a probability differs from Keras' by {comparison.max_abs_dp:.2g}; "
            f"at most {limits.float_max_dp:g} is allowed",
        )


def _accuracy(comparison: PredictionComparison, limits: Parity, other: str) -> Iterator[Finding]:
    """Check the accuracy drop against `other`, the name of the reference model."""
    allowed = allowed_drop(comparison, limits)
    needed = images_to_resolve(allowed)
    both = f"accuracy {comparison.accuracy:.1%}, {other} {comparison.reference_accuracy:.1%}"
    if comparison.images < needed and not comparison.accuracy_change_high < -allowed:
        yield (
            "undecided",
            f"inconclusive: {both}; detecting a {points(allowed)}-point accuracy drop needs at least "
            f"{needed} images, there are {comparison.images}",
        )
        return
    if -comparison.accuracy_change > limits.max_drop + ROUNDING:
        yield (
            "failed",
            f"{both}: a drop of {points(-comparison.accuracy_change)} points; "
            f"at most {points(limits.max_drop)} allowed",
        )
    if comparison.accuracy < limits.int8_accuracy * comparison.reference_accuracy - ROUNDING:
        share = comparison.accuracy / comparison.reference_accuracy
        yield (
            "failed",
            f"{both}: {share:.1%} of {other}'s accuracy; "
            f"at least {percent(limits.int8_accuracy)} is required",
        )


def _class_recall(comparison: PredictionComparison, limits: Parity) -> Iterator[Finding]:
    """Check the worst class; never inconclusive, since only classes with enough images are looked at."""
    if -comparison.worst_class_change > limits.max_class_drop + ROUNDING:
        yield (
            "failed",
            f"recall of class {comparison.worst_class} fell by {points(-comparison.worst_class_change)} "
            f"points; at most {points(limits.max_class_drop)} allowed",
        )


def _missing_classes(comparison: PredictionComparison) -> Iterator[Finding]:
    """Check for classes that are never predicted.

    Never inconclusive: where the gate allows two changed predictions in a hundred, a class does not lose
    both of its two predictions by chance.
    """
    if comparison.constant_class:
        yield "failed", f"predicts class {comparison.constant_class} for every image"
    elif comparison.vanished_classes:
        yield "failed", f"never predicts {_listed(comparison.vanished_classes)}"


def _uninformative(comparison: PredictionComparison, gate: str) -> Iterator[Finding]:
    """Check that the reference model's predictions depend on the image; else agreement proves nothing."""
    if not comparison.reference_varies:
        yield (
            "undecided",
            f"inconclusive: Keras gives the same probabilities for all {comparison.images} images, so "
            "agreement proves nothing. Verify on other photos, or train a model that tells the classes apart",
        )
    elif comparison.reference_constant_class and gate != "float":
        yield (
            "undecided",
            f"inconclusive: Keras predicts class {comparison.reference_constant_class} for every image, so "
            "agreement proves nothing. Train a model that tells the classes apart",
        )


def percent(limit: float) -> str:
    """Format a limit as a percentage with all its digits, e.g. `98%` or `99.5%`."""
    return f"{100 * limit:.6g}%"


def points(share: float) -> str:
    """Format a difference of shares in percentage points, with three significant digits."""
    return f"{100 * share:.3g}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_LISTED_CLASSES
    return ", ".join(names[:MAX_LISTED_CLASSES]) + (f" and {more} more" if more > 0 else "")
