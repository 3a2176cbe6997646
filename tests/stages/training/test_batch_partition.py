"""Shares of a batch make the batch, and padding counts for nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.helpers.processes import partitions
from tledge import config
from tledge.training import batches
from tledge.training.batch_partition import BatchPartition, without_padding


def test_shares_make_the_batch() -> None:
    """What three processes read is what one reads."""
    images: NDArray[np.uint8] = np.random.default_rng(1).integers(0, 256, (14, 2, 2, 3), np.uint8)
    examples = batches.Examples(images, np.eye(4, dtype=np.float32)[np.arange(14) % 4], np.arange(14))
    stage = config.Stage(batch_size=6, class_weights="balanced")

    def data(partition: BatchPartition | None) -> Any:
        return batches.batches(examples, stage, seed=1, epoch=2, train=True, partition=partition)

    for number, count in enumerate((6, 6, 2)):
        wanted = data(None)[number]
        parts = [data(one)[number] for one in partitions(6)]
        for kind, one in enumerate(wanted):
            found = np.concatenate([part[kind] for part in parts])[:count]
            scale = len(np.concatenate([part[2] for part in parts])) / count if kind == 2 else 1
            assert np.allclose(found, one * scale, rtol=1e-6)


def test_padding_does_not_count_as_right() -> None:
    """Accuracy over rows with a label, whatever weights say."""
    import keras

    (metric,) = without_padding([keras.metrics.CategoricalAccuracy(name="accuracy")])
    labels = np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    metric.update_state(labels, np.array([[0.9, 0.1]] * 4, np.float32), np.array([5.0, 1, 0, 0]))
    assert metric.name == "accuracy" and float(metric.result()) == 0.5
