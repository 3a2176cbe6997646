"""What training does with the device: precision, compiling, memory, several GPUs.

A network trains under a mixed dtype policy and on the variables of a distribution strategy where
the recipe asks for them; `plain` gives it back in float32 on one device, and only that is scored
and written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from tledge import progress
from tledge.config import Hardware, Stage
from tledge.errors import RecipeError, RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JIT: dict[str, bool | str] = {"auto": "auto", "on": True, "off": False}
"""[hardware] jit_compile as Keras' `compile` takes it."""

OUT_OF_MEMORY = {
    "ResourceExhaustedError": "",
    "AbortedError": "Status: 1, message: could not create",  # oneDNN's number for it
    "XlaRuntimeError": "RESOURCE_EXHAUSTED",
    "JaxRuntimeError": "RESOURCE_EXHAUSTED",
    "InternalError": "RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY",
    "UnknownError": "MemoryError",  # raised in Python that TensorFlow called for a batch
}
"""Errors of TensorFlow and JAX by class name, with what their text says of memory. By name, so that
neither needs to be there."""


@dataclass(frozen=True)
class Engine:
    """`[hardware]` on this machine: `replicas` devices, with the backend's `strategy` if several."""

    table: Hardware = field(default_factory=Hardware)
    strategy: Any = None
    replicas: int = 1

    @contextmanager
    def building(self) -> Iterator[None]:
        """Layers made in here have the precision and the places of training."""
        import keras

        before = keras.config.dtype_policy()
        mixed = self.table.precision != "float32"
        try:
            if mixed:
                keras.config.set_dtype_policy(f"mixed_{self.table.precision}")
            with self.training():
                yield
        finally:
            keras.config.set_dtype_policy(before)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Models made and fitted in here use all devices."""
        with ExitStack() as stack:
            if self.strategy is not None:
                stack.enter_context(self.strategy.scope())
            yield

    def here(self, net: Any) -> Any:
        """The same layers as a model of where it is made: in `training` it trains on all devices.

        Outside it predicts on one: a model made under a TensorFlow strategy answers once per device.
        """
        import keras

        return net if self.strategy is None else keras.Model(net.inputs, net.outputs, name=net.name)

    def scaled(self, optimizer: Any) -> Any:
        """An optimizer whose gradients do not vanish in float16."""
        import keras

        is_half = self.table.precision == "float16"
        return keras.optimizers.LossScaleOptimizer(optimizer) if is_half else optimizer

    def plain(self, net: Any) -> Any:
        """The network in float32 on one device, with the same weights; itself where it is that."""
        if self.table.precision == "float32" and self.strategy is None:
            return net
        config = json.dumps(net.get_config()).replace(f'"mixed_{self.table.precision}"', '"float32"')
        made = type(net).from_config(json.loads(config))
        made.set_weights(net.get_weights())
        return made


PLAIN = Engine()
"""One device, float32."""


def engine(table: Hardware, watch: progress.Progress = progress.SILENT) -> Engine:
    """What `table` means on this machine. Raises RecipeError for what the backend cannot do."""
    import keras

    names = _devices() if table.devices == "all" else []
    if len(names) < 2:
        if table.devices == "all":
            watch.say('[hardware] devices = "all": this machine has one device for training; it is used.')
        return Engine(table)
    if keras.backend.backend() == "jax":
        return Engine(table, keras.distribution.DataParallel(devices=names), len(names))
    if table.halve_batch:
        raise RecipeError(
            "[hardware] halve_batch: TensorFlow cannot add up gradients on several devices. Set "
            'devices = "one", leave halve_batch out, or set KERAS_BACKEND=jax.'
        )
    import tensorflow

    return Engine(table, tensorflow.distribute.MirroredStrategy(names), len(names))


def _devices() -> Sequence[str]:
    """Names of the devices that training may share: all that JAX sees, or TensorFlow's GPUs."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return [one.name for one in tensorflow.config.list_logical_devices("GPU")]
    return list(keras.distribution.list_devices())


# Memory


def is_out_of_memory(error: BaseException) -> bool:
    """True where the device, or the host, had no memory left for a step."""
    text = OUT_OF_MEMORY.get(type(error).__name__)
    return isinstance(error, MemoryError) or (text is not None and bool(re.search(text, str(error))))


def aborted(stage: Stage, split: Split) -> str:
    """What to say where native code ends the process within a step, with what to set instead."""
    return (
        f"stage {stage.name}: native code gave up at batch_size = {split.piece}, most often because memory "
        "ran out where it cannot be told of it: see the line above. Set "
        f"batch_size = {max(1, split.piece // 2)} or a smaller [model] image_size, or raise the limit on "
        "memory; --force starts over."
    )


def halved(table: Hardware, stage: Stage, split: Split, watch: progress.Progress) -> int:
    """Twice the gradients to an update, said aloud, after `split` was too much for the memory.

    Raises RunError, with what to set instead, where the recipe does not allow it or nothing is left.
    """
    where = f"stage {stage.name}: the device ran out of memory at batch_size = {split.piece}."
    if split.piece <= split.replicas:
        raise RunError(f"{where} Set a smaller [model] image_size, or take a smaller backbone.")
    if not table.halve_batch:
        other = "" if table.precision != "float32" else '[hardware] precision = "bfloat16", '
        raise RunError(
            f"{where} Set batch_size = {max(1, split.piece // 2)}, {other}or [hardware] halve_batch = true."
        )
    smaller = replace(split, accumulate=split.accumulate * 2)
    watch.say(
        f"{where} The stage begins again with {smaller.piece} images at a time, "
        f"{smaller.accumulate} times for an update."
    )
    return smaller.accumulate


@dataclass(frozen=True)
class Split:
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

    def for_validation(self, images: int) -> tuple[Split, float]:
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


# Optimizers


def accumulating(options: dict[str, Any], steps: int) -> dict[str, Any]:
    """Options of a Keras optimizer so that `steps` gradients make one update.

    Keras counts every gradient as a step: for schedules, which are held here until the update, and
    for the moving average of weights, whose momentum is spread over the gradients here.
    """
    if steps == 1:
        return options
    made = {**options, "gradient_accumulation_steps": steps}
    if callable(options["learning_rate"]):
        made["learning_rate"] = _held(options["learning_rate"], steps)
    if options.get("use_ema"):
        made["ema_momentum"] = options["ema_momentum"] ** (1 / steps)
    return made


def _held(schedule: Any, steps: int) -> Any:
    """A schedule that moves on once in `steps` steps."""
    import keras

    class Held(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            return schedule(keras.ops.floor_divide(step, steps))

        def get_config(self) -> dict[str, Any]:
            return {"schedule": schedule, "steps": steps}

    return Held()
