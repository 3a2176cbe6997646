"""One training stage: optimizer, loss, checkpoints, best epoch.

Everything that a stage's continuation needs is in one checkpoint file per epoch: weights,
optimizer, random generators, best weights so far and the history. A stage that was killed goes
on from the last whole epoch and ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import gc
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import progress
from tledge._process import native_output
from tledge.config import Stage
from tledge.errors import RunError
from tledge.run import folder, golden_set
from tledge.training import accelerators, distillation, multi_host
from tledge.training.batches import Examples, batches
from tledge.training.multi_host import ALONE, Hosts

if TYPE_CHECKING:
    from numpy.typing import NDArray


HEAD_STEPS = 32
"""Steps at once of a head on features that lie ready: enough to forget Python, few for a progress bar."""

Observer = Callable[[Sequence[Mapping[str, Any]]], None]
"""Told of the whole history after every epoch, a row each with stage, epoch and figures."""


@dataclass
class State:
    """Where training stands; goes to JSON inside the checkpoint."""

    stage: int = 0
    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stopped: bool = False
    accumulate: int = 1
    """Gradients to an update in the running stage, above 1 where its batch did not fit."""
    halved: dict[str, int] = field(default_factory=dict)
    """Images at a time in the stages that did not fit, by name."""
    frozen: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def optimizer(stage: Stage, steps: int, accumulate: int = 1) -> Any:
    """The Keras optimizer of a stage that makes `steps` updates in all, each of `accumulate` gradients."""
    import keras

    options: dict[str, Any] = {"learning_rate": _rate(stage, steps)}
    if stage.weight_decay or stage.optimizer == "adamw":  # AdamW's own default is not 0
        options["weight_decay"] = stage.weight_decay
    if stage.ema:
        options |= {"use_ema": True, "ema_momentum": stage.ema}
    if stage.optimizer in ("sgd", "rmsprop"):
        options["momentum"] = stage.momentum
    if stage.optimizer == "sgd":
        options["nesterov"] = stage.nesterov
    kinds = {"sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax"}
    made = getattr(keras.optimizers, kinds[stage.optimizer])
    return made(**accelerators.accumulating(options, accumulate))


def _rate(stage: Stage, steps: int) -> Any:
    """The learning rate: a number, or Keras' schedule of that name over `steps` steps."""
    from keras.optimizers import schedules

    first = stage.learning_rate
    if stage.schedule == "cosine":
        return schedules.CosineDecay(first, max(1, steps))
    if stage.schedule == "exponential":
        return schedules.ExponentialDecay(first, max(1, steps // max(1, stage.epochs)), stage.decay)
    if stage.schedule == "inverse-time":
        return schedules.InverseTimeDecay(first, 1, stage.decay)
    return first


def loss(stage: Stage) -> Any:
    """Cross-entropy of probabilities [N, classes] against one-hot labels.

    Of the pair (1 - p, p) that one logit gives this is its binary cross-entropy. Keras' own
    BinaryCrossentropy would not do: behind a softmax it takes the softmax' inputs for logits of p.
    """
    import keras

    if stage.quantize_aware:
        return distillation.divergence
    return keras.losses.CategoricalCrossentropy(label_smoothing=stage.label_smoothing)


def metrics(classes: int, split: accelerators.Split | None = None, *, distilled: bool = False) -> list[Any]:
    """Accuracy, and top-5 accuracy where there are more than five classes; padding does not count."""
    import keras

    if distilled:
        made = distillation.metrics()
        return made if split is None or split.is_whole else accelerators.without_padding(made)
    if split is None or split.is_whole:
        top5 = keras.metrics.TopKCategoricalAccuracy(5, name="top5")
        return ["accuracy", top5] if classes > 5 else ["accuracy"]
    made = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    if classes > 5:
        made.append(keras.metrics.TopKCategoricalAccuracy(5, name="top5"))
    return accelerators.without_padding(made)


def fit(
    train_model: Any,
    stage: Stage,
    state: State,
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    checkpoint: Path,
    watch: progress.Progress,
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
    split = accelerators.Split(stage.batch_size, state.accumulate, replicas, hosts.processes, hosts.process)
    with _last_words(lambda: accelerators.aborted(stage, split), hosts):
        while True:
            try:
                with engine.training():
                    here = engine.here(train_model)
                    _run(
                        here,
                        stage,
                        state,
                        train,
                        validation,
                        seed,
                        checkpoint,
                        watch,
                        engine,
                        split,
                        observers,
                    )
                return
            except Exception as error:  # the classes are the backend's
                if not accelerators.is_out_of_memory(error):
                    raise
            gc.collect()  # what the error's frames still held: whoever is told of it needs some memory, too
            split = replace(split, accumulate=accelerators.halved(engine.table, stage, split, watch))
            _begin_again(state, split.accumulate)
            state.halved[stage.name] = split.piece
            train_model.set_weights(begin)


def _last_words(words: Callable[[], str], hosts: Hosts) -> AbstractContextManager[None]:
    """Say what to set where native code aborts; several processes have last words already."""
    return native_output.explained(words) if hosts.is_alone else nullcontext()


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
    watch: progress.Progress,
    engine: accelerators.Engine,
    split: accelerators.Split,
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
    keeper = _keeper(train_model, stage, state, checkpoint, observers)
    if state.epoch:
        keeper.restore()
    if state.epoch < stage.epochs and not state.stopped:
        with progress.task(watch, stage.name, (stage.epochs - state.epoch) * steps) as task:
            extra = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if stage.ema else []
            for swap in extra if state.epoch else ():
                swap._ema_weights_in_model = True  # checkpoints are written while swapped in
            held_out = batches(validation, stage, stage_seed, 0, train=False, split=split)
            guard = _guard(stage, state, engine.table.precision)
            reporter = _reporter(task, replace(stage, batch_size=split.piece), watch)
            with _own_error(data, held_out):
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


def _steps_at_once(train: Examples, split: accelerators.Split) -> int:
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


def _guard(stage: Stage, state: State, precision: str) -> Any:
    """The callback that stops at the first step, or validation, whose loss is no number."""
    import keras

    class Guard(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            step = min(batch + 1, self.params["steps"])  # the last of several at once
            self._check(logs, f"in epoch {self.epoch + 1}, at step {step}")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._check(logs, f"in validation after epoch {epoch + 1}")

        def _check(self, logs: Any, where: str) -> None:
            if not all(math.isfinite(float(value)) for value in (logs or {}).values()):
                raise RunError(_no_number(stage, state, where, precision))

    return Guard()


def _no_number(stage: Stage, state: State, where: str, precision: str) -> str:
    """What to say of a loss that is no number, and what to try."""
    key = f"stage.{state.stage}.learning_rate"
    half = ', or [hardware] precision = "float32"' if precision == "float16" else ""
    return (
        f"stage {stage.name}: the loss is not a number {where}. Most likely the learning rate is too high. "
        f"Start over with --force and a tenth of it, --set {key}={stage.learning_rate / 10:g}{half}. The run "
        "folder still holds the last whole epoch, and --resume would come to the same."
    )


@contextmanager
def _own_error(*data: Any) -> Iterator[None]:
    """Raise what making a batch raised, and not what the backend makes of it."""
    try:
        yield
    except Exception:
        if error := next((one.error for one in data if one.error), None):
            raise error from None
        raise


def _reset_generators(train_model: Any, seed: int) -> None:
    """Start every random layer from the stage's seed, so that a stage does not depend on the past."""
    weights = {id(variable) for variable in train_model.weights}
    generators = [one for one in train_model.variables if id(one) not in weights]
    for number, generator in enumerate(one for one in generators if "seed" in one.name):
        generator.assign([seed + number, 0])


def _reporter(task: progress.Task, stage: Stage, watch: progress.Progress) -> Any:
    import keras

    class Reporter(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch, self.begun, self.seen = epoch, time.monotonic(), 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            before, self.seen = self.seen, min(batch + 1, self.params["steps"])  # told of several at once
            rate = self.seen * stage.batch_size / max(1e-9, time.monotonic() - self.begun)
            task.advance(
                self.seen - before, epoch=f"{self.epoch + 1}/{stage.epochs}", images_s=rate, **(logs or {})
            )

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            figures = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
            seconds = time.monotonic() - self.begun
            watch.say(f"  {stage.name} {epoch + 1}/{stage.epochs}  {figures}  {seconds:.0f} s")

    return Reporter()


def _keeper(
    train_model: Any, stage: Stage, state: State, checkpoint: Path, observers: Sequence[Observer] = ()
) -> Any:
    """The callback that notes history, finds the best epoch, stops early and writes checkpoints."""
    import keras

    class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.kept: list[NDArray[Any]] | None = None
            self.begun = time.monotonic()

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            figures = {name: float(value) for name, value in (logs or {}).items()}
            seconds = round(time.monotonic() - self.begun, 2)
            row = {"stage": stage.name, "epoch": epoch + 1, **figures, "seconds": seconds}
            state.history.append(row)
            if judge(stage, state, figures, epoch + 1) or not stage.restore_best:
                self.kept = [_values(variable) for variable in train_model.weights]
            self.model.stop_training = state.stopped
            save_checkpoint(checkpoint, train_model, state, self.kept or [])
            for tell in observers:
                tell(state.history)

        def restore(self) -> None:
            self.kept = load_checkpoint(checkpoint, train_model)

        def finish(self) -> None:
            if self.kept:
                train_model.set_weights(self.kept)

    return Keeper()


def judge(stage: Stage, state: State, figures: dict[str, float], epoch: int) -> bool:
    """Note in `state` whether this epoch is the best so far, and whether the stage should stop."""
    sign = -1.0 if stage.monitor == "val_accuracy" else 1.0
    value = sign * figures[stage.monitor]
    better = state.best is None or value < state.best
    if better:
        state.best, state.best_epoch, state.wait = value, epoch, 0
    else:
        state.wait += 1
    state.epoch = epoch
    state.stopped = bool(stage.patience) and state.wait >= stage.patience
    return better


def _values(variable: Any) -> NDArray[Any]:
    """A copy of a Keras variable that later steps do not change."""
    import keras
    import numpy as np

    return np.array(keras.ops.convert_to_numpy(variable))


def _all_variables(train_model: Any) -> list[Any]:
    """Weights, random generators and optimizer state, in Keras' order."""
    optimizer = train_model.optimizer
    return [*train_model.variables, *(optimizer.variables if optimizer else [])]


def save_checkpoint(path: Path, train_model: Any | None, state: State, kept: list[NDArray[Any]]) -> None:
    """Write everything that continuing needs, under its final name at once.

    `train_model` is None between two stages, where only the `kept` weights count.
    """
    import numpy as np

    variables = _all_variables(train_model) if train_model is not None else []
    arrays = {f"now.{n:05d}": _values(v) for n, v in enumerate(variables)}
    arrays |= {f"kept.{n:05d}": values for n, values in enumerate(kept)}
    arrays["state"] = np.array(json.dumps(vars(state)))
    with folder.replacing(path) as made:
        golden_set.write_npz(made, arrays)


def read_state(path: Path) -> State:
    """The state in a checkpoint, a fresh one where there is no checkpoint yet."""
    import numpy as np

    if not path.is_file():
        return State()
    with np.load(path, allow_pickle=False) as packed:
        return State(**json.loads(str(packed["state"].reshape(-1)[0])))


def load_checkpoint(path: Path, train_model: Any | None) -> list[NDArray[Any]]:
    """Put a checkpoint's values into model and optimizer; gives the kept weights."""
    import numpy as np

    with np.load(path, allow_pickle=False) as packed:
        variables = _all_variables(train_model) if train_model is not None else []
        names = sorted(name for name in packed.files if name.startswith("now."))
        if len(names) != len(variables):
            raise RunError(f"{path}: the checkpoint is of another recipe. Train with --force.")
        for name, variable in zip(names, variables, strict=True):
            variable.assign(packed[name])
        return [packed[name] for name in sorted(packed.files) if name.startswith("kept.")]
