"""Divide a batch over steps, devices and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class BatchPartition:
    """How the images of one update reach the devices: in `accumulate` pieces, each for all `replicas`.

    `size` is the images of an update. Pieces are of one length; where an update has too few images
    for that (at the end of an epoch), some come twice, with no label and no weight. Of several
    `processes`, number `process` takes its part of every piece for its part of the replicas.
    """

    size: int
    accumulate: int = 1
    replicas: int = 1
    processes: int = 1
    process: int = 0

    @property
    def is_whole(self) -> bool:
        """True where an update is one batch on one device."""
        return self.accumulate == self.replicas == 1

    @property
    def piece(self) -> int:
        """Images in a whole piece."""
        return self.replicas * ceil(self.size / (self.accumulate * self.replicas))

    def count(self, images: int) -> int:
        """Pieces that so many images come to."""
        return ceil(images / self.size) * self.accumulate

    def take(self, order: NDArray[np.int64], number: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Piece `number` of `order`, and what its images weigh in the mean over their update.

        The weights float32 of the pieces are such that the mean of the pieces' means is the mean over
        the update's images.
        """
        import numpy as np

        update, piece = divmod(number, self.accumulate)
        images = order[update * self.size : (update + 1) * self.size]
        each = self.replicas * ceil(len(images) / (self.accumulate * self.replicas))
        padded = np.resize(images, each * self.accumulate)
        real = np.arange(len(padded)) < len(images)
        part = each // self.processes
        own = slice(piece * each + self.process * part, piece * each + (self.process + 1) * part)
        return padded[own], (real[own] * (len(padded) / len(images))).astype(np.float32)

    def weighed(
        self,
        images: NDArray[Any],
        labels: NDArray[np.float32],
        weights: NDArray[np.float32] | None,
        share: NDArray[np.float32],
        even: float,
    ) -> tuple[NDArray[Any], ...]:
        """A piece for Keras: images, labels, and weights where there are any or the split needs them.

        `weights` are the images' own, `share` what `take` gave; `even` replaces the latter where not 0.
        """
        import numpy as np

        if self.is_whole:
            return (images, labels) if weights is None else (images, labels, weights)
        real = (share > 0).astype(np.float32)
        made = share if not even else real * np.float32(even)
        return images, labels * real[:, None], made if weights is None else made * weights

    def for_validation(self, images: int) -> tuple[BatchPartition, float]:
        """Pieces of the same length for no update; what each of `images` weighs for the mean of all."""
        padded = self.replicas * ceil(images / self.replicas)
        return replace(self, size=self.piece, accumulate=1), padded / images


def without_padding(metrics: Sequence[Any]) -> list[Any]:
    """The same metrics of one-hot labels, for which rows of zeros (padding) do not count."""
    import keras

    def counted(metric: Any) -> Any:
        class Counted(type(metric)):  # type: ignore[misc]
            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
                del sample_weight  # weights of classes are for the loss
                return super().update_state(y_true, y_pred, keras.ops.sum(y_true, -1))

        return Counted.from_config(metric.get_config())

    return [counted(metric) for metric in metrics]
