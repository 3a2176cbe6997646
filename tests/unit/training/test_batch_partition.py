"""A batch shared by devices or processes: the mean is that of the real images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.processes import partitions
from tledge.training.batch_partition import BatchPartition, BatchRows, ValidationPartition


def test_share_by_worked_example() -> None:
    parts = [partition.rows(np.arange(7), 0) for partition in partitions(9)]
    assert [rows.positions.tolist() for rows in parts] == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    weights = [[9 / 7] * 3, [9 / 7] * 3, [9 / 7, 0, 0]]
    assert np.allclose([rows.weights for rows in parts], weights)


def test_drawing_of_the_module_is_true() -> None:
    first, second = (BatchPartition(10, 2, 4, 2, process) for process in range(2))
    assert first.images_per_step == 8 and first.count(10) == 2
    drawn = [[rows_of(one, 10, step) for one in (first, second)] for step in range(2)]
    assert drawn == [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, None, None], [None] * 4]]


def rows_of(partition: BatchPartition, count: int, step: int) -> list[int | None]:
    rows = partition.rows(np.arange(count), step)
    assert rows.weights is not None
    return [
        position if weight else None
        for position, weight in zip(rows.positions.tolist(), rows.weights, strict=True)
    ]


def test_an_undivided_batch_has_no_weights() -> None:
    for partition in (BatchPartition(4), ValidationPartition(BatchPartition(4, accumulate=2), 7)):
        rows = partition.rows(np.arange(7), 1)
        assert rows.weights is None
        assert len(rows.batch(np.zeros(3), np.ones((3, 2), np.float32)).for_keras()) == 2
    assert BatchPartition(4).rows(np.arange(7), 1).positions.tolist() == [4, 5, 6]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("has_weights", [False, True])
def test_mean_is_that_of_real_images(count: int, has_weights: bool) -> None:
    rng = np.random.default_rng(count)
    images, labels = rng.random((count, 4)), np.eye(5, dtype=np.float32)[rng.integers(0, 5, count)]
    losses, weights = rng.random(count), rng.random(count).astype(np.float32)
    total, size = 0.0, 0
    for partition in partitions(9):
        rows = partition.rows(np.arange(count), 0)
        own = rows.positions
        batch = rows.batch(images[own], labels[own], weights[own] if has_weights else None)
        assert rows.weights is not None and batch.weights is not None
        assert len(batch.images) == len(batch.labels) == len(batch.weights)
        assert np.array_equal(batch.labels.sum(1), rows.weights > 0)
        total, size = total + (losses[own] * batch.weights).sum(), size + len(own)
    assert total / size == pytest.approx((losses * (weights if has_weights else 1)).mean(), rel=1e-6)


def test_epoch_mean_is_exact() -> None:
    """Keras weighs the means of batches by their size: 11 images by 6 fill 6 + 6."""
    losses, order, means = np.random.default_rng(0).random(11), np.arange(11), []
    for number in range(2):
        total = 0.0
        for process in range(3):
            rows = ValidationPartition(BatchPartition(6, 1, 3, 3, process), 11).rows(order, number)
            own = rows.positions
            batch = rows.batch(own, np.ones((len(own), 1), np.float32))
            total += (losses[own] * batch.weights).sum()
        means.append(total / 6)
    assert np.mean(means) == pytest.approx(losses.mean())


@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 19, 24])
def test_pieces_weigh_images_alike(accumulate: int, replicas: int, count: int) -> None:
    partition, values = BatchPartition(8, accumulate, replicas), np.random.default_rng(0).random(count)
    order = np.random.default_rng(1).permutation(count)
    steps = [partition.rows(order, step) for step in range(partition.count(count))]
    assert all(len(rows.positions) % replicas == 0 for rows in steps)
    assert max(len(rows.positions) for rows in steps) <= partition.images_per_step
    for update in range(0, len(steps), accumulate):
        own = order[update // accumulate * 8 :][:8]
        means = [weighted(values, rows).mean() for rows in steps[update:][:accumulate]]
        assert np.mean(means) == pytest.approx(values[own].mean(), rel=1e-6)


def weighted(values: NDArray[np.float64], rows: BatchRows) -> NDArray[np.float64]:
    own = values[rows.positions]
    return own if rows.weights is None else own * rows.weights


def test_validation_counts_every_image_once() -> None:
    partition = ValidationPartition(BatchPartition(8, 2, 3), 16)
    values = np.random.default_rng(0).random(16)
    batches = [partition.rows(np.arange(16), number) for number in range(partition.count(16))]
    total = sum(weighted(values, rows).sum() for rows in batches)
    assert total / sum(len(rows.positions) for rows in batches) == pytest.approx(values.mean())
