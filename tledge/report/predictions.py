"""What Keras answered to the test images: confusion, recall and precision by class, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.bundle.run_summary import Summary
from tledge.metrics import per_class, statistics
from tledge.metrics.per_class import Recall
from tledge.report import charts
from tledge.report import images as report_images
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_CLASSES = 20
"""Classes up to which the confusion matrix is a table; of more, a heat map."""

MOST_PAIRS = 10
"""Pairs of label and answer that are named."""


@dataclass(frozen=True)
class Pair:
    """A label that got another answer, so many times."""

    label: str
    answer: str
    count: int


@dataclass(frozen=True)
class Class:
    """A class on the test images: recall with its interval (None: no image), precision (None: never
    answered), how often it was answered, and the recall of artifacts by variant.
    """

    label: str
    images: int
    recall: Recall | None
    precision: float | None
    answered: int
    artifacts: Mapping[str, float]


@dataclass(frozen=True)
class Predictions:
    """Keras' answers to the golden set, which keeps all test images unless they are very many."""

    images: int
    accuracy: float
    counts: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]
    heat: str
    """The confusion matrix as a picture, where there are many classes."""
    classes: tuple[Class, ...]
    others: tuple[str, ...]
    """Variants whose recall differs from Keras' in some class."""
    same: tuple[str, ...]
    weak: tuple[Recall, ...]
    ece: float
    reliability: charts.Reliability


def read(folder: RunFolder, known: Summary) -> Predictions | None:
    """Keras' answers; None where the run has no golden set. Raises RunError for a damaged one."""
    if not folder.golden.is_file():
        return None
    reference = folder.read_golden()
    rows = known.parity.rows if known.parity else ()
    return _answers(reference, known.run.labels, [row for row in rows if row.recall])


def _answers(reference: golden_set.Golden, labels: Sequence[str], rows: Sequence[ParityRow]) -> Predictions:
    probabilities, truth = reference.probabilities, reference.labels
    counts = statistics.confusion(truth, probabilities.argmax(1), len(labels))
    others = tuple(row.variant for row in rows if any(two != one for _n, one, two in row.recall.values()))
    classes = _classes(counts, labels, [row for row in rows if row.variant in others])
    recalls = [one.recall for one in classes if one.recall]
    accuracy = float(counts.trace() / counts.sum())
    bins = statistics.reliability(probabilities, truth)
    ece = statistics.calibration_error(probabilities, truth)
    return Predictions(
        images=len(truth),
        accuracy=accuracy,
        counts=tuple(tuple(row) for row in counts.tolist()),
        pairs=_pairs(counts, labels),
        heat=report_images.heat(counts) if len(labels) > MOST_CLASSES else "",
        classes=classes,
        others=others,
        same=tuple(row.variant for row in rows if row.variant not in others),
        weak=tuple(per_class.weak_classes(recalls, accuracy)),
        ece=ece,
        reliability=charts.reliability(bins, ece),
    )


def _classes(
    counts: NDArray[np.int64], labels: Sequence[str], rows: Sequence[ParityRow]
) -> tuple[Class, ...]:
    """All classes, the lowest recall first; those without images last."""
    made = []
    for number, label in enumerate(labels):
        images, answered, right = (
            int(counts[number].sum()), int(counts[:, number].sum()), int(counts[number, number]),
        )  # fmt: skip
        recall = per_class.class_recall(label, images, right / images) if images else None
        artifacts = {row.variant: row.recall[label][2] for row in rows if label in row.recall}
        precision = right / answered if answered else None
        made.append(Class(label, images, recall, precision, answered, artifacts))
    return tuple(sorted(made, key=lambda one: one.recall.recall if one.recall else 2.0))


def _pairs(counts: NDArray[np.int64], labels: Sequence[str]) -> tuple[Pair, ...]:
    """The commonest mistakes, the commonest first."""
    import numpy as np

    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS].tolist()
    places = [divmod(place, len(labels)) for place in order]
    return tuple(Pair(labels[a], labels[b], int(wrong[a, b])) for a, b in places if wrong[a, b])
