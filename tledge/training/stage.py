"""Train one stage: optimizer, loss, checkpoints, best epoch.

Everything that resuming a stage needs is in the checkpoint file written after every epoch: weights,
optimizer, random generators, best weights so far and the history. A stage that was killed resumes
after the last complete epoch and ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._process import native_output
from tledge.config import Stage
from tledge.errors import RunError
from tledge.progress import Progress, start_task
from tledge.training import accelerators, multi_host, progress_lines
from tledge.training.accelerators import Engine
from tledge.training.batch_partition import BatchPartition
from tledge.training.batches import Examples, batches
from tledge.training.callbacks import Observer, guard_numbers, keep_best, own_error, report_progress
from tledge.training.checkpoint import State
from tledge.training.multi_host import ALONE, Hosts
from tledge.training.optimizer import loss, metrics, optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


HEAD_STEPS = 32
"""Steps per Python call of a head on cached features: enough to be fast, few enough for a progress bar."""


@dataclass(frozen=True)
class StageFit:
    """One stage's training: of which network, on what, and where its checkpoint goes."""

    network: Any
    stage: Stage
    state: State
    train: Examples
    validation: Examples
    seed: int
    checkpoint: Path
    progress: Progress
    engine: Engine
    observers: Sequence[Observer]

    def fits_into_memory(self, partition: BatchPartition) -> bool:
        """Train with batches divided like this; return False where the device has no memory for them."""
        try:
            with self.engine.training():
                network = self.engine.rebuild_in_scope(self.network)
                _compile(self, network, partition)
                _train_epochs(self, network, partition)
        except Exception as error:  # the classes are the backend's
            if not accelerators.is_out_of_memory(error):
                raise
            return False
        return True

    @property
    def stage_seed(self) -> int:
        """The seed of this stage's order of images and random layers."""
        return self.seed + 1000 * (self.state.stage + 1)

    def batches(self, partition: BatchPartition) -> tuple[Any, Any]:
        """Return the Keras datasets of training and validation."""
        train = batches(
            self.train, self.stage, self.stage_seed, self.state.epoch, train=True, partition=partition
        )
        return train, batches(
            self.validation, self.stage, self.stage_seed, 0, train=False, partition=partition
        )


def fit(
    train_model: Any,
    stage: Stage,
    state: State,
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    checkpoint: Path,
    progress: Progress,
    engine: Engine = accelerators.PLAIN,
    hosts: Hosts = ALONE,
    observers: Sequence[Observer] = (),
) -> None:
    """Train one stage from where `state` stands; leave its best (or last) weights in the model.

    A stage that does not fit into memory starts again with smaller batches where the recipe allows it.

    Args:
        train_model: The Keras network to train.
        stage: The recipe's table of this stage.
        state: Where training stands; changes with every epoch.
        train: The images to train on.
        validation: The images that decide which epoch is the best.
        seed: The recipe's seed.
        checkpoint: The file that is written after every epoch.
        progress: Receives the figures of every epoch.
        engine: Precision and devices.
        hosts: The processes that train together.
        observers: Called after every epoch with the history.

    Raises:
        RunError: The stage does not fit into memory, or the loss is no longer a number; the
            checkpoint then still holds the last complete epoch.
    """
    fitting = StageFit(
        train_model, stage, state, train, validation, seed, checkpoint, progress, engine, observers
    )
    first_weights = train_model.get_weights()
    _require_numbers(stage, first_weights)
    replicas = engine.replicas if hosts.is_alone else multi_host.devices()
    partition = BatchPartition(stage.batch_size, state.accumulate, replicas, hosts.processes, hosts.process)
    with _exit_message(lambda: accelerators.aborted(stage, partition), hosts):
        while not fitting.fits_into_memory(partition):
            gc.collect()  # frees what the failed step still held
            partition = replace(
                partition, accumulate=accelerators.halved(engine.table, stage, partition, progress)
            )
            state.restart_stage(partition.accumulate)
            state.halved[stage.name] = partition.images_per_step
            train_model.set_weights(first_weights)


def _exit_message(message: Callable[[], str], hosts: Hosts) -> AbstractContextManager[None]:
    """Say what to set where native code aborts; several processes have such a message already."""
    return native_output.exit_message_on_abort(message) if hosts.is_alone else nullcontext()


def _compile(fitting: StageFit, network: Any, partition: BatchPartition) -> None:
    """Give the network its optimizer, loss and metrics, and its random layers the seed of the stage."""
    stage, engine, steps = fitting.stage, fitting.engine, partition.count(len(fitting.train.rows))
    updates = stage.epochs * steps // partition.accumulate
    network.compile(
        optimizer=engine.scaled(optimizer(stage, updates, partition.accumulate)),
        loss=loss(stage),
        jit_compile=accelerators.JIT[engine.table.jit_compile],
        auto_scale_loss=False,
        steps_per_execution=_steps_at_once(fitting.train, partition),
        metrics=metrics(fitting.train.labels.shape[1], partition, distilled=stage.quantize_aware),
    )
    network.optimizer.build(network.trainable_variables)
    _reset_generators(network, fitting.stage_seed)


def _train_epochs(fitting: StageFit, network: Any, partition: BatchPartition) -> None:
    """Train the epochs that are left, and put the best weights into the network."""
    stage, state = fitting.stage, fitting.state
    keeper = keep_best(network, stage, state, fitting.checkpoint, fitting.observers)
    if state.epoch:
        keeper.restore()
    if state.epoch < stage.epochs and not state.stopped:
        train, validation = fitting.batches(partition)
        epochs = stage.epochs - state.epoch
        with (
            start_task(fitting.progress, stage.name, epochs * len(train)) as task,
            own_error(train.reader, validation.reader),
        ):
            reporter = report_progress(
                task, replace(stage, batch_size=partition.images_per_step), state, fitting.progress
            )
            fitting.progress.say(progress_lines.header(stage))
            guard = guard_numbers(stage, state, fitting.engine.table.precision)
            network.fit(
                train,
                validation_data=validation,
                initial_epoch=state.epoch,
                epochs=stage.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[guard, *_weight_averages(stage, state), keeper, reporter],
            )
    keeper.finish()


def _weight_averages(stage: Stage, state: State) -> list[Any]:
    """Return the Keras callback that validates with averaged weights, where the stage averages them."""
    import keras

    if not stage.ema:
        return []
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    if state.epoch:
        swap._ema_weights_in_model = True  # checkpoints are written while swapped in
    return [swap]


def _steps_at_once(train: Examples, partition: BatchPartition) -> int:
    """Return how many steps one Python call takes; on TensorFlow a call takes longer than a head's step.

    The weights are the same, bit for bit.
    """
    import keras

    is_plain = keras.backend.backend() == "tensorflow" and partition.is_undivided
    return HEAD_STEPS if is_plain and train.are_vectors else 1


def _require_numbers(stage: Stage, weights: Sequence[NDArray[Any]]) -> None:
    """Raise RunError where a stage would begin with weights that are not numbers: no learning rate helps."""
    import numpy as np

    if not all(np.isfinite(values).all() for values in weights):
        raise RunError(
            f"stage {stage.name}: begins with weights that are not numbers, so nothing can be learned. Look "
            "at the file in [model] weights, or at the SavedModel of a hub backbone."
        )


def _reset_generators(train_model: Any, seed: int) -> None:
    """Start every random layer from the stage's seed, so that a stage does not depend on earlier ones."""
    weights = {id(variable) for variable in train_model.weights}
    generators = [
        variable
        for variable in train_model.variables
        if id(variable) not in weights and "seed" in variable.name
    ]
    for number, generator in enumerate(generators):
        generator.assign([seed + number, 0])
