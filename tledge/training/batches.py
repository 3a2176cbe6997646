"""Make the batches of a stage from images, augmentation copies or frozen features, in a seeded order."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import array_file, files
from tledge.config import Stage
from tledge.data.streaming import Images, OneHot
from tledge.errors import TledgeError
from tledge.training.batch_partition import Batch, BatchPartition, ValidationPartition

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """The images of a split: some `rows` of uint8[N, H, W, 3], with their one-hot labels.

    `images` are in memory, on disk or streamed.

    `labels[rows]` is float32[rows, classes]: an array, or `OneHot` that makes it when asked.

    `copies` holds augmentation copies uint8[copies, rows, H, W, 3], or what frozen layers make of them
    as float32[copies, rows, ...]; epochs take them in turn.
    """

    images: Images
    labels: NDArray[np.float32] | OneHot
    rows: NDArray[np.int64]
    copies: NDArray[np.uint8] | NDArray[np.float32] | None = None

    @property
    def are_vectors(self) -> bool:
        """Whether these are frozen features as vectors, so that only a head is left to train."""
        return self.copies is not None and self.copies.ndim == 3

    @cached_property
    def copies_sha256(self) -> str:
        """The SHA-256 of the file that holds the copies, computed once; empty without copies."""
        return "" if self.copies is None else files.sha256(Path(self.copies.filename))  # type: ignore[union-attr]

    def class_weights(self) -> NDArray[np.float32]:
        """Return weights float32[classes] with which all classes of `rows` count alike, 1 on average.

        N / (classes * images of the class), as scikit-learn's "balanced" has it; classes without images do
        not count.
        """
        import numpy as np

        starts = range(0, len(self.rows), 4096)
        counts = sum(self.labels[self.rows[start : start + 4096]].sum(0) for start in starts)
        classes = int(np.count_nonzero(counts))
        return np.asarray(len(self.rows) / (classes * np.maximum(1, counts)), np.float32)

    def take(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return pixels uint8[len(positions), H, W, 3] of positions in `rows`, or float32 features.

        Pixels stay bytes until they are on the device, where the network converts them to float32: that
        is a quarter to copy, and converting on the host takes longer than reading.
        """
        import numpy as np

        if self.copies is not None:
            return np.asarray(array_file.part_of(self.copies, epoch % len(self.copies))[positions])
        return np.asarray(self.images[self.rows[positions]])


@dataclass(frozen=True)
class BatchMaker:
    """Make the batches of `examples` that `partition` says, in an order that depends on (seed, epoch) alone.

    Without a `seed` they come in their own order. `class_weights` float32[classes] weigh labels.
    """

    examples: Examples
    partition: BatchPartition | ValidationPartition
    seed: int | None = None
    mixup: float = 0.0
    class_weights: NDArray[np.float32] | None = None

    @property
    def count(self) -> int:
        """Number of batches in an epoch."""
        return self.partition.count(len(self.examples.rows))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions of all examples in the order of an epoch."""
        import numpy as np

        rows = len(self.examples.rows)
        if self.seed is None:
            return np.arange(rows)
        return np.random.default_rng([self.seed, epoch]).permutation(rows)

    def make(self, number: int, order: NDArray[np.int64], epoch: int) -> Batch:
        """Return batch `number` of an epoch, whose `order` is given."""
        import numpy as np

        rows = self.partition.rows(order, number)
        images = self.examples.take(rows.positions, epoch)
        labels = self.examples.labels[self.examples.rows[rows.positions]]
        if self.seed is not None and self.mixup:
            rng = np.random.default_rng([self.seed, epoch, number])
            images, labels = mixed(images.astype(np.float32), labels, self.mixup, rng)
        return rows.batch(images, labels, None if self.class_weights is None else labels @ self.class_weights)


class BatchReader:
    """Hand out the batches of one epoch after the other, the next one made ahead by a thread.

    JAX is fed by the thread that starts its steps, and a fast device would wait for it. (TensorFlow
    reads ahead itself.) Feature vectors are not made ahead: copying them takes no time.
    """

    def __init__(self, maker: BatchMaker, epoch: int) -> None:
        self.maker, self.epoch = maker, epoch
        self.order = maker.order(epoch)
        self.error: TledgeError | None = None
        self.ahead: dict[tuple[int, int], Future[Batch]] = {}

    def next_epoch(self) -> None:
        """Go to the next epoch, which has an order of its own."""
        self.epoch += 1
        self.order = self.maker.order(self.epoch)

    def read(self, number: int) -> Batch:
        """Return batch `number`; keep a TledgeError in `error`, because backends reword what they catch."""
        ready = self.ahead.pop((self.epoch, number), None)
        if number + 1 < self.maker.count and not self.maker.examples.are_vectors:
            coming = _thread().submit(self.maker.make, number + 1, self.order, self.epoch)
            self.ahead = {(self.epoch, number + 1): coming}
        try:
            return ready.result() if ready else self.maker.make(number, self.order, self.epoch)
        except TledgeError as error:
            self.error = error
            raise


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "batch")


def batches(
    examples: Examples,
    stage: Stage,
    seed: int,
    epoch: int,
    *,
    train: bool,
    partition: BatchPartition | None = None,
) -> Any:
    """Return a `keras.utils.PyDataset` over examples, beginning with `epoch`.

    Args:
        examples: What is trained on or validated with.
        stage: Says batch size, mixup and class weights.
        seed: Decides the order of training, together with the epoch.
        epoch: The epoch that comes first.
        train: Whether to shuffle, mix and weigh examples; validation takes them as they are.
        partition: How batches are divided; without one, an update is one batch.
    """
    partition = partition or BatchPartition(stage.batch_size)
    if not train:
        return _dataset(BatchMaker(examples, ValidationPartition(partition, len(examples.rows))), epoch)
    weights = examples.class_weights() if stage.class_weights == "balanced" else None
    return _dataset(BatchMaker(examples, partition, seed, stage.mixup, weights), epoch)


def _dataset(maker: BatchMaker, epoch: int) -> Any:
    """Return a `keras.utils.PyDataset` that reads batches; its `reader` is the `BatchReader`."""
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(workers=1)
            self.reader = BatchReader(maker, epoch)

        def __len__(self) -> int:
            return maker.count

        def __getitem__(self, number: int) -> tuple[NDArray[Any], ...]:
            return self.reader.read(number).for_keras()

        def on_epoch_end(self) -> None:
            self.reader.next_epoch()

    return Batches()


def mixed(
    images: NDArray[np.float32],
    labels: NDArray[np.float32],
    alpha: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blend each example with another by a share from Beta(a, a): mixup (Zhang et al. 2018)."""
    other = rng.permutation(len(images))
    share = rng.beta(alpha, alpha, len(images)).astype(images.dtype)
    wide = share[:, None, None, None]
    blended = images * wide + images[other] * (1 - wide)
    return blended, labels * share[:, None] + labels[other] * (1 - share[:, None])
