"""Set up the devices of training: precision, compiling, memory, several GPUs.

Where the recipe asks for it, a network trains under a mixed dtype policy and on the variables of a
distribution strategy; `plain` returns it in float32 on one device, and only that is scored and
written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tledge._process import processors
from tledge.config import Hardware, Stage
from tledge.errors import RecipeError, RunError
from tledge.progress import SILENT, Progress
from tledge.training.batch_partition import BatchPartition

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
"""Errors of TensorFlow and JAX by class name, with a pattern of their text where it is about memory.
The names are text, so that neither library needs to be installed."""


@dataclass(frozen=True)
class Engine:
    """The [hardware] table on this machine: `replicas` devices, with the backend's `strategy` if several."""

    table: Hardware = field(default_factory=Hardware)
    strategy: Any = None
    replicas: int = 1

    @contextmanager
    def building(self) -> Iterator[None]:
        """Build layers in this block with the precision and the devices of training."""
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
        """Build and fit models in this block on all devices."""
        with ExitStack() as stack:
            if self.strategy is not None:
                stack.enter_context(self.strategy.scope())
            yield

    def rebuild_in_scope(self, net: Any) -> Any:
        """Return a model of the same layers, made in the current scope.

        Within `training` it trains on all devices, outside it predicts on one: a model made under a
        TensorFlow strategy predicts once per device.
        """
        import keras

        return net if self.strategy is None else keras.Model(net.inputs, net.outputs, name=net.name)

    def scaled(self, optimizer: Any) -> Any:
        """Return an optimizer whose gradients do not vanish in float16."""
        import keras

        is_half = self.table.precision == "float16"
        return keras.optimizers.LossScaleOptimizer(optimizer) if is_half else optimizer

    def plain(self, net: Any) -> Any:
        """Return the network in float32 on one device; the same object where it already is."""
        if self.table.precision == "float32" and self.strategy is None:
            return net
        config = json.dumps(net.get_config()).replace(f'"mixed_{self.table.precision}"', '"float32"')
        plain_net = type(net).from_config(json.loads(config))
        plain_net.set_weights(net.get_weights())
        return plain_net


PLAIN = Engine()
"""One device, float32."""


def engine(table: Hardware, progress: Progress = SILENT) -> Engine:
    """Return the engine for a [hardware] table on this machine.

    Raises:
        RecipeError: The backend cannot do what the table asks for.
    """
    import keras

    names = _devices() if table.devices == "all" else []
    if len(names) < 2:
        if table.devices == "all":
            progress.say('[hardware] devices = "all": this machine has one device for training, and uses it.')
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


def description(engine: Engine) -> str:
    """Return the device, or devices, that a network trains on, for a line of text."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        names = [device.name for device in tensorflow.config.list_physical_devices("GPU")]
    else:
        names = [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]
    if not names:
        count = processors.usable()
        return f"CPU, {count} processor{'s' * (count != 1)}"
    used = names[: engine.replicas]
    return ", ".join(name.removeprefix("/physical_device:") for name in used)


def _devices() -> Sequence[str]:
    """Return the names of the devices that training may share: all of JAX, or TensorFlow's GPUs."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return [device.name for device in tensorflow.config.list_logical_devices("GPU")]
    return list(keras.distribution.list_devices())


# Memory


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the device, or the host, had no memory left for a step."""
    text = OUT_OF_MEMORY.get(type(error).__name__)
    return isinstance(error, MemoryError) or (text is not None and bool(re.search(text, str(error))))


def aborted(stage: Stage, partition: BatchPartition) -> str:
    """Return what to say, with what to set instead, where native code ends the process within a step."""
    size = partition.images_per_step
    smaller_batch = f"batch_size = {size // 2} or " if size > partition.replicas else ""
    return (
        f"stage {stage.name}: native code aborted at batch_size = {size}, most often because it ran "
        f"out of memory: see the line above. Set {smaller_batch}a smaller [model] image_size, or raise the "
        "memory limit; --force starts over."
    )


def halved(table: Hardware, stage: Stage, partition: BatchPartition, progress: Progress) -> int:
    """Return twice the steps to an update, after `partition` was too much for the memory; say so.

    Raises RunError, with what to set instead, where the recipe does not allow it or nothing is left.
    """
    size = partition.images_per_step
    where = f"stage {stage.name}: the device ran out of memory at batch_size = {size}."
    if size <= partition.replicas:
        raise RunError(f"{where} Set a smaller [model] image_size, or take a smaller backbone.")
    if not table.halve_batch:
        other = "" if table.precision != "float32" else '[hardware] precision = "bfloat16", '
        raise RunError(
            f"{where} Set batch_size = {max(1, size // 2)}, {other}or [hardware] halve_batch = true."
        )
    smaller = replace(partition, accumulate=partition.accumulate * 2)
    progress.say(
        f"{where} The stage restarts with {smaller.images_per_step} images at a time, "
        f"{smaller.accumulate} times for an update."
    )
    return smaller.accumulate
