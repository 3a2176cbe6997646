"""What the scores of a training do not show by themselves: sets too odd, and answers too alike, to trust."""

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


def of_training(
    found: DatasetSummary,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    names: tuple[str, ...],
    epochs: int,
) -> tuple[str, ...]:
    """What to say beside the scores, a line each; mostly nothing.

    `labels` int64[N] and `probabilities` float32[N, classes] are those of the test split, `epochs` all
    that were trained.
    """
    return tuple(_lines(found, labels, probabilities.argmax(1), names, epochs))


def _lines(
    found: DatasetSummary,
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    names: tuple[str, ...],
    epochs: int,
) -> Iterator[str]:
    if not epochs:
        yield "no epoch was trained: the weights are those that it began with"
    if (answers == answers[0]).all() and (labels != labels[0]).any():
        yield (
            f"it answers {names[answers[0]]} to every test photo, and tells no classes apart: its accuracy "
            "is that label's share"
        )
    yield from inspection.missing_labels(found)
    twins = [one for one in found.duplicates if one.crosses_splits]
    if twins:
        one, more = twins[0], f" and {len(twins) - 1} pairs more" * (len(twins) > 1)
        yield (
            f"equal photos stand in two splits, {one.first} ({one.first_place}) and {one.second} "
            f"({one.second_place}){more}: the scores flatter"
        )


def predict(
    core: Any, images: Images, rows: NDArray[np.int64], progress: Progress = SILENT
) -> NDArray[np.float32]:
    """Keras' probabilities float32[rows, classes] of these rows of images uint8[N, H, W, 3]."""
    import numpy as np

    batches = in_batches(images, rows, 32)
    parts = track(progress, classifier.predict_batches(core, batches), "score", math.ceil(len(rows) / 32))
    return np.concatenate(list(parts))


def score(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
    """Accuracy with its 95 % Wilson interval, and top-5 where there are more than 5 classes."""
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
