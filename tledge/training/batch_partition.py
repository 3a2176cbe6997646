"""Divide the images of an update over steps, devices and processes.

An update of `size` images is computed in `accumulate` steps. Each step takes one batch, which
`replicas` devices share, and of `processes` each makes its own part of that batch:

    update of 10 images, accumulate = 2, replicas = 4, processes = 2 (. is padding)

                    process 0   process 1
        step 0      0 1 2 3     4 5 6 7
        step 1      8 9 . .     . . . .

All batches of an update have one length, so some of its images may come twice. Such padding has
no label and no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """One batch: images [M, ...], one-hot labels float32[M, classes] and, unless all are 1, weights [M]."""

    images: NDArray[Any]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32] | None

    def for_keras(self) -> tuple[NDArray[Any], ...]:
        """Return the tuple that Keras takes from a dataset."""
        pair = (self.images, self.labels)
        return pair if self.weights is None else (*pair, self.weights)


@dataclass(frozen=True)
class BatchRows:
    """Which examples a batch holds: `positions` int64[M], and how much each counts in the mean.

    `weights` float32[M] is 0 for padding, and None where there is no padding and all count alike.
    """

    positions: NDArray[np.int64]
    weights: NDArray[np.float32] | None

    def batch(
        self,
        images: NDArray[Any],
        labels: NDArray[np.float32],
        class_weights: NDArray[np.float32] | None = None,
    ) -> Batch:
        """Return the batch of these images and labels; `class_weights` [M] are those of its labels."""
        if self.weights is None:
            return Batch(images, labels, class_weights)
        is_image = self.weights > 0
        weights = self.weights if class_weights is None else self.weights * class_weights
        return Batch(images, labels * is_image[:, None], weights)


@dataclass(frozen=True)
class BatchPartition:
    """The batches of training: `size` images to an update, in `accumulate` steps for `replicas` devices.

    Of `processes`, this is number `process`, which makes its own part of every batch.
    """

    size: int
    accumulate: int = 1
    replicas: int = 1
    processes: int = 1
    process: int = 0

    @property
    def is_undivided(self) -> bool:
        """True where an update is one batch on one device."""
        return self.accumulate == self.replicas == 1

    @property
    def images_per_step(self) -> int:
        """Images in a full batch of all processes together."""
        return self._length(self.size) // self.accumulate

    def count(self, images: int) -> int:
        """Return the number of steps for so many images."""
        return ceil(images / self.size) * self.accumulate

    def rows(self, order: NDArray[np.int64], step: int) -> BatchRows:
        """Return this process's batch of a step, taken from `order`.

        With the weights, the mean over an update's batches is the mean over its images.
        """
        import numpy as np

        update, number = divmod(step, self.accumulate)
        images = order[update * self.size : (update + 1) * self.size]
        if self.is_undivided:
            return BatchRows(images, None)
        length = self._length(len(images))
        padded = np.resize(images, length)
        weights = np.where(np.arange(length) < len(images), length / len(images), 0.0).astype(np.float32)
        per_process = length // (self.accumulate * self.processes)
        first = (number * self.processes + self.process) * per_process
        own = slice(first, first + per_process)
        return BatchRows(padded[own], weights[own])

    def _length(self, images: int) -> int:
        """Return the length of an update with its padding: the same for every device in every step."""
        parts = self.accumulate * self.replicas
        return parts * ceil(images / parts)


@dataclass(frozen=True)
class ValidationPartition:
    """The batches of `images` validation images: as long as those of `training`, and without updates.

    Keras takes the mean over batches by their length. With the weights here, that is the mean over
    the images, however much padding the last batch holds.
    """

    training: BatchPartition
    images: int

    @property
    def _batches(self) -> BatchPartition:
        return replace(self.training, size=self.training.images_per_step, accumulate=1)

    def count(self, images: int) -> int:
        """Return the number of batches for so many images."""
        return self._batches.count(images)

    def rows(self, order: NDArray[np.int64], step: int) -> BatchRows:
        """Return this process's batch of a step, taken from `order`."""
        import numpy as np

        taken = self._batches.rows(order, step)
        if taken.weights is None:
            return taken
        replicas = self.training.replicas
        weight = replicas * ceil(self.images / replicas) / self.images
        return BatchRows(taken.positions, np.where(taken.weights > 0, weight, 0.0).astype(np.float32))


def without_padding(metrics: Sequence[Any]) -> list[Any]:
    """Return the same metrics of one-hot labels, for which rows of zeros (padding) do not count."""
    import keras

    def without(metric: Any) -> Any:
        class Counted(type(metric)):  # type: ignore[misc]
            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
                del sample_weight  # weights of classes are for the loss
                return super().update_state(y_true, y_pred, keras.ops.sum(y_true, -1))

        return Counted.from_config(metric.get_config())

    return [without(metric) for metric in metrics]
