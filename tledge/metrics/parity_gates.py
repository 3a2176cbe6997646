"""The gates: what an artifact must be and must answer, and the likely cause where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from tledge.config import Parity
from tledge.metrics import statistics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


CLASS_IMAGES = 20
"""A class with fewer images has no gate of its own: one image would weigh over 5 points."""


MAX_NAMES = 5
"""Classes that a reason lists."""

SAME = 1e-6
"""Probabilities that differ less over all images are those of a model that does not look at them."""

Recall = tuple[int, float, float]
"""Images of a class, the share that Keras gets right, the share that the artifact gets right."""


@dataclass(frozen=True)
class Comparison:
    """An artifact's answers beside Keras' for the same images; shares in 0..1.

    `lost` are images that Keras gets right and the artifact wrong, `won` the other way round,
    `moved` wrong in both and differently. `ece` is the expected calibration error; `recall` has
    every class with images. `vanished` classes get two answers or more from Keras and none from
    the artifact; `constant` is the one class that it ever answers, where Keras does otherwise, and
    `blind` the one that Keras ever answers, of several labels: then agreement takes no looking.
    `varies` is False where Keras gives the same probabilities for two images and all others.
    """

    images: int
    accuracy: float
    reference_accuracy: float
    change: float
    change_low: float
    change_high: float
    mcnemar_p: float
    agreement: float
    agreement_low: float
    agreement_high: float
    max_abs_dp: float
    worst_class: str
    worst_class_change: float
    vanished: tuple[str, ...]
    constant: str = ""
    blind: str = ""
    lost: int = 0
    won: int = 0
    moved: int = 0
    ece: float = 0.0
    reference_ece: float = 0.0
    recall: dict[str, Recall] = field(default_factory=dict)
    varies: bool = True


def compare(
    labels: NDArray[np.int64],
    keras: NDArray[np.float32],
    found: NDArray[np.float32],
    names: tuple[str, ...],
) -> Comparison:
    """Compare probabilities float32[N, classes] of Keras and of an artifact; labels int64[N]."""
    import numpy as np

    before, after = keras.argmax(1), found.argmax(1)
    was_right, is_right = before == labels, after == labels
    same = int((before == after).sum())
    low, high = statistics.wilson(same, len(labels))
    change_low, change_high = statistics.paired_interval(was_right, is_right)
    recall = _recall(labels, was_right, is_right, names)
    worst_class, worst_change = _worst_class(recall)
    lost, won = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
    return Comparison(
        images=len(labels),
        accuracy=float(is_right.mean()),
        reference_accuracy=float(was_right.mean()),
        change=(won - lost) / len(labels),
        change_low=change_low,
        change_high=change_high,
        mcnemar_p=statistics.mcnemar(lost, won),
        agreement=same / len(labels),
        agreement_low=low,
        agreement_high=high,
        max_abs_dp=float(np.abs(keras - found).max()),
        worst_class=worst_class,
        worst_class_change=worst_change,
        vanished=tuple(
            name for index, name in enumerate(names)
            if (before == index).sum() >= 2 and not (after == index).any()
        ),
        constant=names[after[0]] if (after == after[0]).all() and (before != after[0]).sum() >= 2 else "",
        blind=names[before[0]] if (before == before[0]).all() and (labels != labels[0]).any() else "",
        varies=len(labels) < 2 or bool((np.ptp(keras, axis=0) >= SAME).any()),
        lost=lost,
        won=won,
        moved=len(labels) - same - lost - won,
        ece=statistics.calibration_error(found, labels),
        reference_ece=statistics.calibration_error(keras, labels),
        recall=recall,
    )  # fmt: skip


def _recall(
    labels: NDArray[np.int64],
    was_right: NDArray[np.bool_],
    is_right: NDArray[np.bool_],
    names: tuple[str, ...],
) -> dict[str, Recall]:
    """Images of each class that has any, and its recall before and after."""
    import numpy as np

    total, before, after = (
        np.bincount(part, minlength=len(names)).tolist()
        for part in (labels, labels[was_right], labels[is_right])
    )
    return {
        name: (count, before[index] / count, after[index] / count)
        for index, (name, count) in enumerate(zip(names, total, strict=True)) if count
    }  # fmt: skip


def _worst_class(recall: Mapping[str, Recall]) -> tuple[str, float]:
    """The class of at least 20 images whose recall fell most, and by how much (negative)."""
    changes = [
        (after - before, name)
        for name, (images, before, after) in recall.items() if images >= CLASS_IMAGES
    ]  # fmt: skip
    change, name = min(changes, default=(0.0, ""))
    return name, change


def judge(found: Comparison, gate: str, limits: Parity) -> tuple[str, tuple[str, ...]]:
    """Verdict "passed", "failed" or "undecided", and the reasons of what did not pass."""
    failed: list[str] = []
    undecided: list[str] = []
    _agreement(found, least_agreement(gate, limits), failed, undecided)
    if gate == "float" and found.max_abs_dp > limits.float_max_dp:
        failed.append(
            f"a probability differs by {found.max_abs_dp:.2g}, at most {limits.float_max_dp:g} allowed"
        )
    if gate == "int8":
        _accuracy(found, limits, failed, undecided)
        _class_recall(found, limits, failed)
    _unanswered(found, failed)
    _unshown(found, gate, undecided)
    if failed:
        return "failed", tuple(failed)
    return ("undecided", tuple(undecided)) if undecided else ("passed", ())


def judge_change(found: Comparison, limits: Parity, before: str) -> tuple[str, tuple[str, ...]]:
    """Verdict and reasons as `judge` gives them, of a model trained anew beside the one `before` it.

    Its accuracy and its classes have gates; agreement has none, since training changes answers.
    """
    failed: list[str] = []
    undecided: list[str] = []
    _accuracy(found, limits, failed, undecided, f"{before}'s")
    _class_recall(found, limits, failed)
    _unanswered(found, failed)
    if failed:
        return "failed", tuple(failed)
    return ("undecided", tuple(undecided)) if undecided else ("passed", ())


def resolution(tolerance: float) -> int:
    """Images below which a single changed answer already exceeds `tolerance`: ceil(1 / it)."""
    return ceil(1 / tolerance - 1e-9) if tolerance > 0 else 0


def images_needed(found: Comparison, gate: str, limits: Parity) -> int:
    """Images from which on `judge` never finds too few to tell."""
    needed = resolution(1 - least_agreement(gate, limits))
    return max(needed, resolution(_allowed_drop(found, limits))) if gate == "int8" else needed


def least_agreement(gate: str, limits: Parity) -> float:
    """The least agreement."""
    return {
        "float": limits.float_agreement,
        "fp16": limits.fp16_agreement,
        "int8": limits.int8_agreement,
    }[gate]


def _allowed_drop(found: Comparison, limits: Parity) -> float:
    """The accuracy that may be lost, whether as a share of the images or of Keras' accuracy."""
    return min(limits.max_drop, (1 - limits.int8_accuracy) * found.reference_accuracy)


def _agreement(found: Comparison, wanted: float, failed: list[str], undecided: list[str]) -> None:
    needed = resolution(1 - wanted)
    shown = f"agreement {found.agreement:.4f}, gate {wanted:g}"
    if found.images >= needed:
        if found.agreement < wanted:
            failed.append(shown)
    elif found.agreement_high < wanted:
        failed.append(f"{shown}, even the interval's upper end {found.agreement_high:.4f} is below")
    else:
        undecided.append(f"{shown}: {found.images} images cannot show it, it takes {needed}")


def _accuracy(
    found: Comparison, limits: Parity, failed: list[str], undecided: list[str], whose: str = "Keras'"
) -> None:
    allowed = _allowed_drop(found, limits)
    needed = resolution(allowed)
    shown = f"accuracy {found.accuracy:.4f} against {whose} {found.reference_accuracy:.4f}"
    if found.images < needed and not found.change_high < -allowed:
        undecided.append(f"{shown}: {found.images} images cannot show a drop of "
                         f"{allowed:.2%}, it takes {needed}")  # fmt: skip
        return
    if -found.change > limits.max_drop + 1e-12:
        failed.append(f"{shown}: lost {-found.change:.1%}, at most {limits.max_drop:.1%} allowed")
    if found.accuracy < limits.int8_accuracy * found.reference_accuracy - 1e-12:
        share = found.accuracy / found.reference_accuracy
        failed.append(f"{shown}: {share:.1%} of it, at least {limits.int8_accuracy:.0%} wanted")


def _class_recall(found: Comparison, limits: Parity, failed: list[str]) -> None:
    """Decided whatever the size of the set: a class that is looked at has images enough of its own."""
    if -found.worst_class_change > limits.max_class_drop + 1e-12:
        failed.append(f"class {found.worst_class} lost {-found.worst_class_change:.1%} of recall, "
                      f"at most {limits.max_class_drop:.0%} allowed")  # fmt: skip


def _unanswered(found: Comparison, failed: list[str]) -> None:
    """Decided whatever the size of the set: two answers of a class are not both lost by chance,
    where the gate allows two in a hundred.
    """
    if found.constant:
        failed.append(f"answers {found.constant} to every image, and tells no classes apart")
    elif found.vanished:
        failed.append(f"never answers {_listed(found.vanished)}")


def _unshown(found: Comparison, gate: str, undecided: list[str]) -> None:
    """What answers that are always the same cannot show: that the artifact looks at its images."""
    if not found.varies:
        undecided.append(
            f"Keras itself answers the same to every one of {found.images} images: nothing shows that "
            "outputs differ between inputs. Verify on other photos, or train a model that tells them apart"
        )
    elif found.blind and gate != "float":
        undecided.append(
            f"Keras answers {found.blind} to every image, and so would an artifact that does not look. Train "
            "a model that tells the classes apart"
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
