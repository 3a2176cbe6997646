"""Batches with weights."""

from __future__ import annotations

import numpy as np

from tests.helpers.stage_training import uneven
from tledge import config
from tledge.training import batches


def test_batches_carry_weights() -> None:
    stage = config.Stage(class_weights="balanced", batch_size=4)
    data = batches.batches(uneven(), stage, seed=0, epoch=0, train=True)
    parts = [data[number] for number in range(len(data))]
    assert [len(weights) for _images, _labels, weights in parts] == [4, 4, 2]
    for _images, labels, weights in parts:
        assert np.allclose(weights, np.array([10 / 18, 10 / 9, 10 / 3])[labels.argmax(1)])
    plain = batches.batches(uneven(), config.Stage(batch_size=4), seed=0, epoch=0, train=True)
    assert all(np.array_equal(one[1], plain[number][1]) for number, one in enumerate(parts))
    assert len(plain[0]) == 2


def test_validation_is_not_weighted() -> None:
    stage = config.Stage(class_weights="balanced")
    assert len(batches.batches(uneven(), stage, seed=0, epoch=0, train=False)[0]) == 2


def test_mixed_photos_have_mixed_weights() -> None:
    stage = config.Stage(class_weights="balanced", mixup=0.4, batch_size=10)
    _images, labels, weights = batches.batches(uneven(), stage, seed=0, epoch=0, train=True)[0]
    assert ((labels > 0).sum(1) > 1).sum() > 0  # some are blends of two classes
    assert np.allclose(weights, (labels * [10 / 18, 10 / 9, 10 / 3]).sum(1), atol=1e-5)
