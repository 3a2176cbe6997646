"""Score the predictions of a model, and warn of data and predictions that make scores misleading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tledge.data import inspection
from tledge.data.inspection import DatasetSummary
from tledge.metrics import statistics
from tledge.run.records import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def remarks(
    dataset: DatasetSummary,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    names: tuple[str, ...],
    epochs: int | None,
) -> tuple[str, ...]:
    """Return warnings that belong beside the scores, a line each; mostly none.

    Args:
        dataset: What is known of the images of all splits.
        labels: The classes int64[N] of the test split.
        probabilities: Keras' probabilities float32[N, classes] of the test split.
        names: The labels of the classes.
        epochs: The number of epochs that were trained; None for a model that was trained elsewhere.
    """
    return tuple(_remarks(dataset, labels, probabilities.argmax(1), names, epochs))


def _remarks(
    dataset: DatasetSummary,
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    names: tuple[str, ...],
    epochs: int | None,
) -> Iterator[str]:
    if epochs == 0:
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
