"""What a stage is fed: weights of classes, mixed photos, and batches that are made ahead."""

from __future__ import annotations

import threading
from importlib.util import find_spec

import numpy as np
import pytest

from tests.helpers.fake_models import images
from tests.helpers.stage_training import UNEVEN, one_hot, uneven
from tledge.config import Stage
from tledge.errors import DataError
from tledge.training import batches
from tledge.training.batches import Examples

# Not importorskip: every worker would load TensorFlow to collect the fast tests.
pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")

PATIENCE = 20.0

COUNT = 22

STAGE = Stage(epochs=1, batch_size=4)


class Watched:
    """Images of which it is known who asked for them: the thread, and the rows."""

    def __init__(self, broken: int = -1) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 2, 2, 3), np.uint8)
        self.shape, self.dtype, self.broken = self.pixels.shape, self.pixels.dtype, broken
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.came = threading.Semaphore(0)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.asked.append((threading.current_thread().name, tuple(rows)))
        self.came.release()
        if self.broken in rows:
            raise DataError("photo-7 is gone")
        return self.pixels[rows]


def examples(images: Watched, views: np.ndarray | None = None) -> Examples:
    labels = np.eye(3, dtype=np.float32)[np.arange(COUNT) % 3]
    return Examples(images, labels, np.arange(COUNT), views)


def wait(images: Watched, times: int) -> None:
    assert all(images.came.acquire(timeout=PATIENCE) for _ in range(times)), images.asked


def test_next_batch_is_made_while_this_one_is_used() -> None:
    images = Watched()
    made = batches.batches(examples(images), STAGE, 3, 0, train=True)
    made[0]
    wait(images, 2)  # nobody has asked for the second
    assert {rows for _, rows in images.asked} == {tuple(made.reader.order[:4]), tuple(made.reader.order[4:8])}
    made[1]
    wait(images, 1)
    assert images.asked[-1][1] == tuple(made.reader.order[8:12])
    assert len(images.asked) == 3, "none twice"
    assert images.asked[-1][0] != threading.current_thread().name


def test_batches_made_ahead_are_those_asked_for() -> None:
    """In any order, through epochs, and again after a first look, as TensorFlow takes one."""
    images, stage = Watched(), Stage(epochs=1, batch_size=4, mixup=0.2)
    made = batches.batches(examples(images), stage, 3, 0, train=True)
    for numbers in ((0, 1, 0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5), (5, 0, 4, 1)):
        for number in numbers:
            alone = batches.batches(examples(Watched()), stage, 3, made.reader.epoch, train=True)[number]
            for one, other in zip(made[number], alone, strict=True):
                np.testing.assert_array_equal(one, other)
        made.on_epoch_end()


def test_error_in_a_batch_made_ahead_is_told_when_it_is_asked_for() -> None:
    images = Watched(broken=COUNT - 1)
    made = batches.batches(examples(images), STAGE, 3, 0, train=False)
    last = len(made) - 1
    made[last - 1]
    wait(images, 2)
    assert made.reader.error is None
    with pytest.raises(DataError, match="photo-7"):
        made[last]
    assert isinstance(made.reader.error, DataError)


def test_features_are_not_made_ahead() -> None:
    """They are small: to hand them from thread to thread takes longer than to copy them."""
    views = np.zeros((1, COUNT, 8), np.float32)
    made = batches.batches(examples(Watched(), views), STAGE, 3, 0, train=True)
    made[0]
    assert made.reader.ahead == {}


def test_class_weights_by_worked_example() -> None:
    """scikit-learn's "balanced": 10 / (3 * [6, 3, 1])."""
    found = uneven().class_weights()
    assert found.dtype == np.float32
    assert np.allclose(found, [10 / 18, 10 / 9, 10 / 3])
    assert found[UNEVEN].mean() == pytest.approx(1)
    assert np.allclose([found[UNEVEN][label == UNEVEN].sum() for label in range(3)], 10 / 3)


def test_class_weights_count_own_rows() -> None:
    """Of the rows in this split alone, not of all photos."""
    assert np.allclose(uneven(np.array([0, 1, 6, 9])).class_weights(), [4 / 6, 4 / 3, 4 / 3])
    assert np.isfinite(uneven(np.array([0, 6])).class_weights()).all()


def test_mixup_blends_labels_alike() -> None:
    batch, labels = images().astype(np.float32), one_hot()
    made, blended = batches.mixed(batch, labels, 0.4, np.random.default_rng(1))
    assert made.shape == batch.shape and np.allclose(blended.sum(1), 1)
    assert not np.allclose(made, batch) and made.max() <= 255


def test_mixup_blends_the_labels_of_the_same_two_images() -> None:
    """Every image names itself, in a channel of its own: its label must hold the same shares of the same."""
    alone = np.eye(7, dtype=np.float32)
    mixed, labels = batches.mixed(alone[:, None, None], alone, 0.4, np.random.default_rng(1))
    assert np.allclose(mixed[:, 0, 0], labels)
    assert ((labels > 0).sum(1) == 2).any() and np.allclose(labels.sum(1), 1)
    assert (labels.diagonal() > 0).all(), "each is blended into its own place"
