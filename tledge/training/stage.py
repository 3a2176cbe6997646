"""One training stage: optimizer, loss, checkpoints, best epoch.

Everything that a stage's continuation needs is in one checkpoint file per epoch: weights,
optimizer, random generators, best weights so far and the history. A stage that was killed goes
on from the last whole epoch and ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._process import native_output
from tledge.config import Stage
from tledge.errors import RunError
from tledge.progress import Progress, start_task
from tledge.training import accelerators, batch_partition, multi_host
from tledge.training.batches import Examples, batches
from tledge.training.callbacks import Observer, guard_numbers, keep_best, own_error, report_progress
from tledge.training.checkpoint import State
from tledge.training.multi_host import ALONE, Hosts
from tledge.training.optimizer import loss, metrics, optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


HEAD_STEPS = 32
"""Steps at once of a head on features that lie ready: enough to forget Python, few for a progress bar."""


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
    engine: accelerators.Engine = accelerators.PLAIN,
    hosts: Hosts = ALONE,
    observers: Sequence[Observer] = (),
) -> None:
    """Run one stage from where `state` stands; leaves its best (or last) weights in the model.

    A stage that does not fit into memory begins again in smaller pieces where the recipe allows it.
    Raises RunError where it does not, and where the loss is no longer a number: the checkpoint then
    still holds the last whole epoch.
    """
    begin = train_model.get_weights()
    _require_numbers(stage, begin)
    replicas = engine.replicas if hosts.is_alone else multi_host.devices()
    split = batch_partition.BatchPartition(
        stage.batch_size, state.accumulate, replicas, hosts.processes, hosts.process
    )
    with _last_words(lambda: accelerators.aborted(stage, split), hosts):
        while True:
            try:
                with engine.training():
                    here = engine.rebuild_in_scope(train_model)
                    _run(
                        here,
                        stage,
                        state,
                        train,
                        validation,
                        seed,
                        checkpoint,
                        progress,
                        engine,
                        split,
                        observers,
                    )
                return
            except Exception as error:  # the classes are the backend's
                if not accelerators.is_out_of_memory(error):
                    raise
            gc.collect()  # what the error's frames still held: whoever is told of it needs some memory, too
            split = replace(split, accumulate=accelerators.halved(engine.table, stage, split, progress))
            _begin_again(state, split.accumulate)
            state.halved[stage.name] = split.piece
            train_model.set_weights(begin)


def _last_words(words: Callable[[], str], hosts: Hosts) -> AbstractContextManager[None]:
    """Say what to set where native code aborts; several processes have last words already."""
    return native_output.exit_message_on_abort(words) if hosts.is_alone else nullcontext()


def _begin_again(state: State, accumulate: int) -> None:
    """Forget the running stage. Its checkpoints are of another optimizer, with other variables."""
    state.history = state.history[: len(state.history) - state.epoch]
    state.epoch, state.best, state.best_epoch, state.wait = 0, None, 0, 0
    state.stopped, state.accumulate = False, accumulate


def _run(
    train_model: Any,
    stage: Stage,
    state: State,
    train: Examples,
    validation: Examples,
    seed: int,
    checkpoint: Path,
    progress: Progress,
    engine: accelerators.Engine,
    split: batch_partition.BatchPartition,
    observers: Sequence[Observer],
) -> None:
    """One try of `fit`."""
    import keras

    stage_seed = seed + 1000 * (state.stage + 1)
    data = batches(train, stage, stage_seed, state.epoch, train=True, split=split)
    steps = len(data)
    train_model.compile(
        optimizer=engine.scaled(optimizer(stage, stage.epochs * steps // split.accumulate, split.accumulate)),
        loss=loss(stage),
        jit_compile=accelerators.JIT[engine.table.jit_compile],
        auto_scale_loss=False,
        steps_per_execution=_steps_at_once(train, split),
        metrics=metrics(train.labels.shape[1], split, distilled=stage.quantize_aware),
    )
    train_model.optimizer.build(train_model.trainable_variables)
    _reset_generators(train_model, stage_seed)
    keeper = keep_best(train_model, stage, state, checkpoint, observers)
    if state.epoch:
        keeper.restore()
    if state.epoch < stage.epochs and not state.stopped:
        with start_task(progress, stage.name, (stage.epochs - state.epoch) * steps) as task:
            extra = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if stage.ema else []
            for swap in extra if state.epoch else ():
                swap._ema_weights_in_model = True  # checkpoints are written while swapped in
            held_out = batches(validation, stage, stage_seed, 0, train=False, split=split)
            guard = guard_numbers(stage, state, engine.table.precision)
            reporter = report_progress(task, replace(stage, batch_size=split.piece), progress)
            with own_error(data, held_out):
                train_model.fit(
                    data,
                    validation_data=held_out,
                    initial_epoch=state.epoch,
                    epochs=stage.epochs,
                    shuffle=False,
                    verbose=0,
                    callbacks=[guard, *extra, keeper, reporter],
                )
    keeper.finish()


def _steps_at_once(train: Examples, split: batch_partition.BatchPartition) -> int:
    """Steps between two returns to Python, which on TensorFlow take longer than a head's step.

    The weights are the same, bit for bit.
    """
    import keras

    is_plain = keras.backend.backend() == "tensorflow" and split.is_whole
    return HEAD_STEPS if is_plain and train.are_vectors else 1


def _require_numbers(stage: Stage, weights: Sequence[NDArray[Any]]) -> None:
    """Raise RunError where a stage would begin with weights that are no numbers: no rate helps then."""
    import numpy as np

    if not all(np.isfinite(one).all() for one in weights):
        raise RunError(
            f"stage {stage.name}: begins with weights that are not numbers, so nothing can be learned. Look "
            "at the file in [model] weights, or at the SavedModel of a hub backbone."
        )


def _reset_generators(train_model: Any, seed: int) -> None:
    """Start every random layer from the stage's seed, so that a stage does not depend on the past."""
    weights = {id(variable) for variable in train_model.weights}
    generators = [one for one in train_model.variables if id(one) not in weights]
    for number, generator in enumerate(one for one in generators if "seed" in one.name):
        generator.assign([seed + number, 0])
