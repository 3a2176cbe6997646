"""Gather Keras' predictions for the test images: confusion, recall and precision by class, reliability."""

from __future__ import annotations

import csv
import io
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
from tledge.visualization import plots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_CLASSES = 20
"""Classes up to which the confusion matrix is a table; with more, it is a heat map."""

MOST_ROWS = 50
"""Classes that are listed; a file has all where there are more."""

MOST_PAIRS = 10
"""Pairs of label and prediction that are listed."""


@dataclass(frozen=True)
class Confusion:
    """A label that was predicted as another, with the number of images."""

    label: str
    answer: str
    count: int


@dataclass(frozen=True)
class ClassMetrics:
    """A class on the test images: recall with its interval (None: no image), precision (None: never
    predicted), the number of predictions, and the recall of artifacts by variant.
    """

    label: str
    images: int
    recall: Recall | None
    precision: float | None
    predicted: int
    artifacts: Mapping[str, float]


@dataclass(frozen=True)
class Predictions:
    """Keras' predictions for the golden set, which has all test images unless there are very many."""

    images: int
    accuracy: float
    counts: tuple[tuple[int, ...], ...]
    """The confusion matrix, where there are few classes."""
    pairs: tuple[Confusion, ...]
    heat: str
    """The confusion matrix as an image, where there are many classes."""
    classes: tuple[ClassMetrics, ...]
    others: tuple[str, ...]
    """Variants whose recall differs from Keras in some class."""
    same: tuple[str, ...]
    weak: tuple[Recall, ...]
    ece: float
    reliability: charts.Reliability

    @property
    def listed(self) -> tuple[ClassMetrics, ...]:
        """Return the classes that are listed: all, or of many those with the lowest recall."""
        return self.classes[:MOST_ROWS]


def read(folder: RunFolder, summary: Summary) -> Predictions | None:
    """Read Keras' predictions; None without a golden set. Raises RunError for a damaged one."""
    if not folder.golden.is_file():
        return None
    reference = folder.read_golden()
    rows = summary.parity.rows if summary.parity else ()
    return _predictions(reference, summary.run.labels, [row for row in rows if row.recall])


def _predictions(
    reference: golden_set.Golden, labels: Sequence[str], rows: Sequence[ParityRow]
) -> Predictions:
    probabilities, truth = reference.probabilities, reference.labels
    counts = statistics.confusion(truth, probabilities.argmax(1), len(labels))
    others = tuple(
        row.variant for row in rows if any(own != keras for _images, keras, own in row.recall.values())
    )
    classes = _classes(counts, labels, [row for row in rows if row.variant in others])
    recalls = [metrics.recall for metrics in classes if metrics.recall]
    accuracy = float(counts.trace() / counts.sum())
    bins = statistics.reliability(probabilities, truth)
    ece = statistics.calibration_error(probabilities, truth)
    return Predictions(
        images=len(truth),
        accuracy=accuracy,
        counts=tuple(tuple(row) for row in counts.tolist()) if len(labels) <= MOST_CLASSES else (),
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
) -> tuple[ClassMetrics, ...]:
    """Return all classes, the lowest recall first; those without images last."""
    classes = []
    for number, label in enumerate(labels):
        images, predicted, correct = (
            int(counts[number].sum()), int(counts[:, number].sum()), int(counts[number, number]),
        )  # fmt: skip
        recall = per_class.class_recall(label, images, correct / images) if images else None
        artifacts = {row.variant: row.recall[label][2] for row in rows if label in row.recall}
        precision = correct / predicted if predicted else None
        classes.append(ClassMetrics(label, images, recall, precision, predicted, artifacts))
    return tuple(sorted(classes, key=lambda metrics: metrics.recall.recall if metrics.recall else 2.0))


def _pairs(counts: NDArray[np.int64], labels: Sequence[str]) -> tuple[Confusion, ...]:
    """Return the most frequent confusions, the most frequent first."""
    return tuple(
        Confusion(labels[label], labels[answer], count)
        for label, answer, count in plots.confused_pairs(counts, MOST_PAIRS)
    )


def class_table(predictions: Predictions) -> str:
    """Return recall and precision of all classes, and the recall of artifacts that differ, as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    recalls = [f"recall of {variant}" for variant in predictions.others]
    writer.writerow(["label", "images", "recall", "low", "high", "predicted", "precision", *recalls])
    for metrics in predictions.classes:
        recall = metrics.recall
        figures = (recall.recall, recall.low, recall.high) if recall else ("", "", "")
        of_artifacts = [metrics.artifacts.get(variant, "") for variant in predictions.others]
        precision = "" if metrics.precision is None else metrics.precision
        row = [metrics.label, metrics.images, *figures, metrics.predicted, precision, *of_artifacts]
        writer.writerow(row)
    return out.getvalue()
