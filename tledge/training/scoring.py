"""Predict and score the splits of a run, and warn of data and predictions that make scores misleading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tledge.data import cache as data_cache
from tledge.data import inspection
from tledge.data.inspection import DatasetSummary
from tledge.data.streaming import Images, in_batches
from tledge.metrics import statistics
from tledge.models import classifier
from tledge.progress import SILENT, Progress, track
from tledge.run.records import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def training_remarks(
    dataset: DatasetSummary,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    names: tuple[str, ...],
    epochs: int,
) -> tuple[str, ...]:
    """Return warnings that belong beside the scores, a line each; mostly none.

    Args:
        dataset: What is known of the images of all splits.
        labels: The classes int64[N] of the test split.
        probabilities: Keras' probabilities float32[N, classes] of the test split.
        names: The labels of the classes.
        epochs: The number of epochs that were trained.
    """
    return tuple(_remarks(dataset, labels, probabilities.argmax(1), names, epochs))


def _remarks(
    dataset: DatasetSummary,
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    names: tuple[str, ...],
    epochs: int,
) -> Iterator[str]:
    if not epochs:
        yield "no epoch was trained: the weights are those that training began with"
    if (predictions == predictions[0]).all() and (labels != labels[0]).any():
        yield (
            f"the model predicts {names[predictions[0]]} for every test photo: its accuracy is only the "
            "share of that label"
        )
    yield from inspection.missing_labels(dataset)
    duplicates = [pair for pair in dataset.duplicates if pair.crosses_splits]
    if duplicates:
        pair, more = duplicates[0], f" and {len(duplicates) - 1} more pairs" * (len(duplicates) > 1)
        yield (
            f"duplicate photos are in two splits, {pair.first} ({pair.first_place}) and {pair.second} "
            f"({pair.second_place}){more}: the scores are optimistic"
        )


def predict(
    core: Any, images: Images, rows: NDArray[np.int64], progress: Progress = SILENT
) -> NDArray[np.float32]:
    """Predict these rows of images uint8[N, H, W, 3]; return probabilities float32[rows, classes]."""
    import numpy as np

    batches = in_batches(images, rows, 32)
    parts = track(progress, classifier.predict_batches(core, batches), "score", math.ceil(len(rows) / 32))
    return np.concatenate(list(parts))


def score(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
    """Return the accuracy with its 95 % Wilson interval, and top-5 where there are more than 5 classes."""
    import numpy as np

    right = int((probabilities.argmax(1) == labels).sum())
    low, high = statistics.wilson(right, len(labels))
    top5 = None
    if probabilities.shape[1] > 5:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        top5 = float((best == labels[:, None]).any(1).mean())
    return Score(len(labels), right / len(labels), low, high, top5)


def score_split(
    core: Any, prepared: data_cache.Prepared, rows: NDArray[np.int64], progress: Progress
) -> Score:
    """Score the rows of one split."""
    probabilities = predict(core, prepared.images(), rows, progress)
    return score(probabilities, prepared.label_indices[rows])
