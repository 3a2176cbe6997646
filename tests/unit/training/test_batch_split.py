"""A batch shared by devices or processes: the mean is that of the real images."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.processes import splits
from tledge.training.batch_partition import BatchPartition


def test_share_by_worked_example() -> None:
    found = [one.take(np.arange(7), 0) for one in splits(9)]
    assert [positions.tolist() for positions, _ in found] == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    weights = [[9 / 7] * 3, [9 / 7] * 3, [9 / 7, 0, 0]]
    assert np.allclose([share for _, share in found], weights)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_mean_is_that_of_real_images(count: int, weighted: bool) -> None:
    rng = np.random.default_rng(count)
    images, labels = rng.random((count, 4)), np.eye(5, dtype=np.float32)[rng.integers(0, 5, count)]
    losses, weights = rng.random(count), rng.random(count).astype(np.float32)
    total, size = 0.0, 0
    for one in splits(9):
        own, share = one.take(np.arange(count), 0)
        batch = one.weighed(images[own], labels[own], weights[own] if weighted else None, share, 0.0)
        assert len(batch[0]) == len(batch[1]) == len(batch[2])
        assert np.array_equal(batch[1].sum(1), share > 0)
        total, size = total + (losses[own] * batch[2]).sum(), size + len(own)
    assert total / size == pytest.approx((losses * (weights if weighted else 1)).mean(), rel=1e-6)


def test_epoch_mean_is_exact() -> None:
    """Keras weighs the means of batches by their size: 11 images by 6 fill 6 + 6."""
    losses, order, means = np.random.default_rng(0).random(11), np.arange(11), []
    for number in range(2):
        total = 0.0
        for process in range(3):
            one, even = BatchPartition(6, 1, 3, 3, process).for_validation(11)
            own, share = one.take(order, number)
            labels = np.ones((len(own), 1), np.float32)
            total += (losses[own] * one.weighed(own, labels, None, share, even)[2]).sum()
        means.append(total / 6)
    assert np.mean(means) == pytest.approx(losses.mean())


@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 19, 24])
def test_pieces_weigh_images_alike(accumulate: int, replicas: int, count: int) -> None:
    split, values = BatchPartition(8, accumulate, replicas), np.random.default_rng(0).random(count)
    order = np.random.default_rng(1).permutation(count)
    taken = [split.take(order, number) for number in range(split.count(count))]
    assert all(len(positions) % replicas == 0 for positions, _ in taken)
    assert max(len(positions) for positions, _ in taken) <= split.piece
    for update in range(0, len(taken), accumulate):
        own = order[update // accumulate * 8 :][:8]
        means = [(values[positions] * share).mean() for positions, share in taken[update:][:accumulate]]
        assert np.mean(means) == pytest.approx(values[own].mean(), rel=1e-6)


def test_validation_counts_every_image_once() -> None:
    split, values = BatchPartition(8, 2, 3), np.random.default_rng(0).random(16)
    pieces, even = split.for_validation(16)
    taken = [pieces.take(np.arange(16), number) for number in range(pieces.count(16))]
    shares = [(share > 0) * even for _, share in taken]
    total = sum(
        (values[positions] * share).sum() for (positions, _), share in zip(taken, shares, strict=True)
    )
    assert total / sum(len(share) for share in shares) == pytest.approx(values.mean())
