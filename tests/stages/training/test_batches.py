"""Batches with weights, and augmentation copies of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.helpers.fake_models import images
from tests.helpers.recipes import BARE
from tests.helpers.stage_training import one_hot, uneven
from tledge import config
from tledge.progress import SILENT
from tledge.recipe import loader
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


def test_augmentation_copies_are_drawn_once_in_turns(tmp_path: Path) -> None:
    from tledge.training.augmentation_copies import with_copies

    made = loader.parse(BARE, "views.toml")
    made = replace(made, augment=config.Augment(flip="horizontal", rotation=0.2, views=2))
    plain = batches.Examples(images(), one_hot(), np.arange(4, 12))
    first, again = (with_copies(plain, made, tmp_path / name / "views.npy", SILENT) for name in ("a", "b"))
    assert first.copies is not None and first.copies.shape == (2, 8, 32, 32, 3)
    assert np.array_equal(first.copies, again.copies)
    assert np.array_equal(first.copies[0], images()[4:12])
    changed = replace(made, augment=replace(made.augment, keep_photo=False))
    others = with_copies(plain, changed, tmp_path / "c" / "views.npy", SILENT).copies
    assert others is not None and not any(np.array_equal(copy, images()[4:12]) for copy in others)
    taken = [first.take(np.arange(8), epoch) for epoch in range(3)]
    assert np.array_equal(taken[0], taken[2]) and not np.array_equal(taken[0], taken[1])
