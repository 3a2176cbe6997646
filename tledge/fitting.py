"""One training stage: batches from the prepared cache, optimizer, checkpoints, best epoch.

Everything that a stage's continuation needs is in one checkpoint file per epoch: weights,
optimizer, random generators, best weights so far and the history. A stage that was killed goes
on from the last whole epoch and ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import distribution, golden, progress, runs
from tledge.distribution import ALONE, Hosts
from tledge.errors import RunError
from tledge.tables import Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """Part of the cache: rows of images uint8[N, H, W, 3] and one-hot labels float32[N, classes].

    `views` holds augmented copies uint8[views, rows, H, W, 3], or what frozen layers make of them
    as float32[views, rows, ...]; epochs take them in turn.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]
    rows: NDArray[np.int64]
    views: NDArray[np.uint8] | NDArray[np.float32] | None = None

    def class_weights(self) -> NDArray[np.float32]:
        """Weights float32[classes] that make every class of `rows` count alike, 1 on average.

        N / (classes * images of the class), as scikit-learn's "balanced" has it.
        """
        import numpy as np

        counts = self.labels[self.rows].sum(0)
        return np.asarray(len(self.rows) / (len(counts) * np.maximum(1, counts)), np.float32)

    def take(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        """Pixels float32[len(positions), H, W, 3] in 0..255 of these positions in `rows`."""
        import numpy as np

        if self.views is not None:
            view = self.views[epoch % len(self.views)]
            return np.stack([view[position] for position in positions]).astype(np.float32)
        return np.stack([self.images[row] for row in self.rows[positions]]).astype(np.float32)


@dataclass
class State:
    """Where training stands; goes to JSON inside the checkpoint."""

    stage: int = 0
    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stopped: bool = False
    frozen: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def batches(
    examples: Examples, stage: Stage, seed: int, epoch: int, *, train: bool, hosts: Hosts = ALONE
) -> Any:
    """A `keras.utils.PyDataset` over examples; train order depends on (seed, epoch) alone.

    On several `hosts` each reads its share of a batch; with mixup, whose pairs cross shares, all of it.
    """
    import keras
    import numpy as np

    weights = examples.class_weights() if train and stage.class_weights == "balanced" else None
    mixes = train and stage.mixup > 0
    scale = 0.0 if train else distribution.even_scale(hosts, len(examples.rows), stage.batch_size)

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(workers=1)
            self.epoch = epoch
            self.order = self._shuffled()

        def _shuffled(self) -> NDArray[np.int64]:
            if not train:
                return np.arange(len(examples.rows))
            return np.random.default_rng([seed, self.epoch]).permutation(len(examples.rows))

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self.order = self._shuffled()

        def __len__(self) -> int:
            return math.ceil(len(self.order) / stage.batch_size)

        def __getitem__(self, number: int) -> tuple[NDArray[np.float32], ...]:
            part = self.order[number * stage.batch_size : (number + 1) * stage.batch_size]
            share = distribution.share(hosts, len(part), scale)
            part = part if mixes else part[share.positions]
            images = examples.take(part, self.epoch)
            labels = examples.labels[examples.rows[part]]
            if mixes:
                rng = np.random.default_rng([seed, self.epoch, number])
                images, labels = mixed(images, labels, stage.mixup, rng)
                images, labels = images[share.positions], labels[share.positions]
            return share.batch(images, labels, None if weights is None else labels @ weights)

    return Batches()


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


def optimizer(stage: Stage, steps: int) -> Any:
    """The Keras optimizer of a stage that takes `steps` steps in all."""
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
    return getattr(keras.optimizers, kinds[stage.optimizer])(**options)


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

    return keras.losses.CategoricalCrossentropy(label_smoothing=stage.label_smoothing)


def metrics(classes: int, hosts: Hosts = ALONE) -> list[Any]:
    """Accuracy, and top-5 accuracy where there are more than five classes."""
    import keras

    made = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    if classes > 5:
        made.append(keras.metrics.TopKCategoricalAccuracy(5, name="top5"))
    return made if hosts.is_alone else distribution.without_padding(made)


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
    hosts: Hosts = ALONE,
) -> None:
    """Run one stage from where `state` stands; leaves its best (or last) weights in the model.

    Raises RunError where the loss is no longer a number.
    """
    import keras

    stage_seed = seed + 1000 * (state.stage + 1)
    data = batches(train, stage, stage_seed, state.epoch, train=True, hosts=hosts)
    steps = len(data)
    train_model.compile(
        optimizer=optimizer(stage, stage.epochs * steps),
        loss=loss(stage),
        metrics=metrics(train.labels.shape[1], hosts),
    )
    train_model.optimizer.build(train_model.trainable_variables)
    _reset_generators(train_model, stage_seed)
    keeper = _keeper(train_model, stage, state, checkpoint)
    if state.epoch:
        keeper.restore()
    if state.epoch < stage.epochs and not state.stopped:
        with progress.task(watch, stage.name, (stage.epochs - state.epoch) * steps) as task:
            extra = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if stage.ema else []
            for swap in extra if state.epoch else ():
                swap._ema_weights_in_model = True  # checkpoints are written while swapped in
            train_model.fit(
                data,
                validation_data=batches(validation, stage, stage_seed, 0, train=False, hosts=hosts),
                initial_epoch=state.epoch,
                epochs=stage.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[*extra, keeper, _reporter(task, stage, watch)],
            )
    keeper.finish()


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
            self.seen += stage.batch_size
            rate = self.seen / max(1e-9, time.monotonic() - self.begun)
            task.advance(1, epoch=f"{self.epoch + 1}/{stage.epochs}", images_s=rate, **(logs or {}))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            figures = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
            seconds = time.monotonic() - self.begun
            watch.say(f"  {stage.name} {epoch + 1}/{stage.epochs}  {figures}  {seconds:.0f} s")

    return Reporter()


def _keeper(train_model: Any, stage: Stage, state: State, checkpoint: Path) -> Any:
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
            if not all(map(math.isfinite, figures.values())):
                raise RunError(
                    f"stage {stage.name}: the loss is not a number after epoch {epoch + 1}. "
                    "Try a tenth of the learning rate."
                )
            seconds = round(time.monotonic() - self.begun, 2)
            row = {"stage": stage.name, "epoch": epoch + 1, **figures, "seconds": seconds}
            state.history.append(row)
            if judge(stage, state, figures, epoch + 1) or not stage.restore_best:
                self.kept = [_values(variable) for variable in train_model.weights]
            self.model.stop_training = state.stopped
            save_checkpoint(checkpoint, train_model, state, self.kept or [])

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
    with runs.replacing(path) as made:
        golden.write_npz(made, arrays, compress=False)


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
