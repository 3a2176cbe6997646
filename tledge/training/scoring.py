"""Predict and score the splits of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tledge.data import cache as data_cache
from tledge.data.scores import score
from tledge.data.streaming import Images, in_batches
from tledge.models import classifier
from tledge.progress import SILENT, Progress, track
from tledge.run.records import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def predict(
    core: Any, images: Images, rows: NDArray[np.int64], progress: Progress = SILENT
) -> NDArray[np.float32]:
    """Predict these rows of images uint8[N, H, W, 3]; return probabilities float32[rows, classes]."""
    import numpy as np

    batches = in_batches(images, rows, 32)
    parts = track(progress, classifier.predict_batches(core, batches), "score", math.ceil(len(rows) / 32))
    return np.concatenate(list(parts))


def score_split(
    core: Any, prepared: data_cache.Prepared, rows: NDArray[np.int64], progress: Progress
) -> Score:
    """Score the rows of one split."""
    probabilities = predict(core, prepared.images(), rows, progress)
    return score(probabilities, prepared.label_indices[rows])
