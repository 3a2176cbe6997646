"""What a training stage is fed: batches from prepared images, views or features, in a seeded order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tledge.config import Stage
from tledge.data.streaming import Images, OneHot
from tledge.errors import TledgeError
from tledge.training import batch_partition

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """Some `rows` of images uint8[N, H, W, 3], in memory, on disk or streamed, and their one-hot labels.

    `labels[rows]` is float32[rows, classes]: an array, or `OneHot` that makes it when asked.

    `views` holds augmented copies uint8[views, rows, H, W, 3], or what frozen layers make of them
    as float32[views, rows, ...]; epochs take them in turn.
    """

    images: Images
    labels: NDArray[np.float32] | OneHot
    rows: NDArray[np.int64]
    views: NDArray[np.uint8] | NDArray[np.float32] | None = None

    @property
    def are_vectors(self) -> bool:
        """Whether these are what a frozen base gave, and only a head is left to train."""
        return self.views is not None and self.views.ndim == 3

    def class_weights(self) -> NDArray[np.float32]:
        """Weights float32[classes] that make every class of `rows` count alike, 1 on average.

        N / (classes * images of the class), as scikit-learn's "balanced" has it.
        """
        import numpy as np

        parts = range(0, len(self.rows), 4096)
        counts = sum(self.labels[self.rows[start : start + 4096]].sum(0) for start in parts)
        return np.asarray(len(self.rows) / (len(counts) * np.maximum(1, counts)), np.float32)

    def take(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Pixels uint8[len(positions), H, W, 3] of these positions in `rows`, or float32 features.

        Pixels stay bytes as far as the device, where the network makes float32 of them: a quarter to
        copy, and to convert on the host takes longer than to read.
        """
        import numpy as np

        if self.views is not None:
            return np.asarray(self.views[epoch % len(self.views)][positions])
        return np.asarray(self.images[self.rows[positions]])


def batches(
    examples: Examples,
    stage: Stage,
    seed: int,
    epoch: int,
    *,
    train: bool,
    split: batch_partition.BatchPartition | None = None,
) -> Any:
    """A `keras.utils.PyDataset` over examples; train order depends on (seed, epoch) alone.

    With a `split` that is not whole, every batch has weights: see `hardware.Split`.
    """
    weights = examples.class_weights() if train and stage.class_weights == "balanced" else None
    pieces, even = split or batch_partition.BatchPartition(stage.batch_size), 0.0
    if not train:
        pieces, even = pieces.for_validation(len(examples.rows))

    def made(number: int, order: NDArray[np.int64], epoch: int) -> tuple[NDArray[Any], ...]:
        import numpy as np

        part, share = pieces.take(order, number)
        images, labels = examples.take(part, epoch), examples.labels[examples.rows[part]]
        if train and stage.mixup:
            rng = np.random.default_rng([seed, epoch, number])
            images, labels = mixed(images.astype(np.float32), labels, stage.mixup, rng)
        return pieces.weighed(images, labels, None if weights is None else labels @ weights, share, even)

    chosen = seed if train else None
    return _dataset(len(examples.rows), chosen, epoch, pieces, made, ahead=not examples.are_vectors)


def _dataset(
    rows: int,
    seed: int | None,
    epoch: int,
    pieces: batch_partition.BatchPartition,
    made: Callable[[int, NDArray[np.int64], int], tuple[NDArray[Any], ...]],
    *,
    ahead: bool,
) -> Any:
    """A `keras.utils.PyDataset` of what `made` gives for (number, order, epoch); in order without a seed.

    With `ahead`, a thread makes the batch after the one that is asked for: JAX is fed by the thread
    that starts its steps, and a fast device would wait for it. (TensorFlow reads ahead itself.)
    """
    import keras
    import numpy as np

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(workers=1)
            self.epoch = epoch
            self.order = self._shuffled()
            self.error: TledgeError | None = None
            self.ahead: dict[tuple[int, int], Future[tuple[NDArray[Any], ...]]] = {}

        def _shuffled(self) -> NDArray[np.int64]:
            if seed is None:
                return np.arange(rows)
            return np.random.default_rng([seed, self.epoch]).permutation(rows)

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self.order = self._shuffled()

        def __len__(self) -> int:
            return pieces.count(rows)

        def __getitem__(self, number: int) -> tuple[NDArray[Any], ...]:
            ready = self.ahead.pop((self.epoch, number), None)
            if ahead and number + 1 < len(self):
                coming = _thread().submit(made, number + 1, self.order, self.epoch)
                self.ahead = {(self.epoch, number + 1): coming}
            try:
                return ready.result() if ready else made(number, self.order, self.epoch)
            except TledgeError as error:  # backends would tell of it in words of their own
                self.error = error
                raise

    return Batches()


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "batch")


def mixed(
    images: NDArray[np.float32],
    labels: NDArray[np.float32],
    alpha: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mixup (Zhang et al. 2018): each example blended with another by a share from Beta(a, a)."""
    other = rng.permutation(len(images))
    share = rng.beta(alpha, alpha, len(images)).astype(images.dtype)
    wide = share[:, None, None, None]
    blended = images * wide + images[other] * (1 - wide)
    return blended, labels * share[:, None] + labels[other] * (1 - share[:, None])
