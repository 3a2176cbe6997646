"""Measure what few augmentation copies cost in accuracy, beside fresh augmentation in every epoch.

One training says little: two heads that differ in their seed alone differ by points on test photos.
So views are drawn once, as many as there are epochs, frozen features are computed once, and heads
of several seeds are trained on the photos and the first K - 1 of these views in turn, as tledge does,
and on all views, which is what fresh augmentation is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADS = 20
"""Seeds, each trained both ways."""

BATCH = 32


def compare_copies(recipe_path: str, views: str, heads: str) -> None:
    """Print the test accuracies of `heads` heads on `views` copies and on fresh ones."""
    from tledge.data import prepare, splits
    from tledge.models import augmentation, classifier
    from tledge.recipe import loader
    from tledge.training import frozen_features

    loaded = loader.load(Path(recipe_path))
    prepared = prepare.prepare_dataset(loaded.data, loaded.model.image_size)
    rows = splits.split(prepared, loaded.data, loaded.meta.seed)
    core = classifier.build(loaded.model, len(prepared.labels))
    classifier.set_trainable(core, loaded.stage[0])
    halves = frozen_features.cut(core)
    assert halves is not None
    epochs = loaded.stage[0].epochs
    draw = augmentation.make_augmenter(loaded.augment, loaded.meta.seed)
    pixels = prepared.images()[rows["train"]]
    fresh = [_features(halves.front, _drawn(draw, pixels)) for _ in range(epochs)]
    kept_copies = [_features(halves.front, pixels), *fresh[: int(views) - 1]]
    test = _features(halves.front, prepared.images()[rows["test"]])
    labels = prepared.label_indices
    known = {name: labels[rows[name]] for name in ("train", "test")}
    rate = loaded.stage[0].learning_rate
    accuracies = [
        [
            _head_accuracy(halves.rest, train, test, known, epochs, rate, seed)
            for train in (kept_copies, fresh)
        ]
        for seed in range(int(heads))
    ]
    print(
        json.dumps(
            {
                "views": [accuracy for accuracy, _ in accuracies],
                "fresh": [accuracy for _, accuracy in accuracies],
            }
        )
    )


def _drawn(draw: Any, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np

    return np.concatenate([draw(pixels[start : start + 64]) for start in range(0, len(pixels), 64)])


def _features(front: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np

    parts = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    return np.concatenate([front.predict_on_batch(part.astype(np.float32)) for part in parts])


def _head_accuracy(
    rest: Any,
    views: Sequence[NDArray[np.float32]],
    test: NDArray[np.float32],
    known: dict[str, NDArray[np.int64]],
    epochs: int,
    rate: float,
    seed: int,
) -> float:
    """Train a new head on one copy after the other; return its test accuracy."""
    import keras

    keras.utils.set_random_seed(seed)
    head = keras.models.clone_model(rest)  # with new weights
    head.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    for epoch in range(epochs):
        head.fit(views[epoch % len(views)], known["train"], batch_size=BATCH, epochs=1, verbose=0)
    return float((head.predict_on_batch(test).argmax(1) == known["test"]).mean())


def summarize(accuracies: dict[str, list[float]]) -> dict[str, float]:
    """Compute mean accuracies, their difference seed by seed, and its standard error."""
    import numpy as np

    change = np.array(accuracies["views"]) - np.array(accuracies["fresh"])
    error = change.std(ddof=1) / len(change) ** 0.5 if len(change) > 1 else 0.0
    means = {name: float(np.mean(values)) for name, values in accuracies.items()}
    return {**means, "difference": float(change.mean()), "standard error": float(error)}


if __name__ == "__main__":
    compare_copies(*sys.argv[1:])
