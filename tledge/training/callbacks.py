"""Keras callbacks of a stage: progress, the best epoch, checkpoints, and a stop where the loss is NaN."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.config import Stage
from tledge.errors import RunError
from tledge.progress import Progress, Task
from tledge.training import checkpoint, progress_lines
from tledge.training.batches import BatchReader
from tledge.training.checkpoint import State, values

if TYPE_CHECKING:
    from numpy.typing import NDArray


Observer = Callable[[Sequence[Mapping[str, Any]]], None]
"""Called after every epoch with the history so far, a row for each epoch: stage, epoch and figures."""


def guard_numbers(stage: Stage, state: State, precision: str) -> Any:
    """Return the callback that stops at the first step, or validation, whose loss is not a number."""
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
                raise RunError(_not_a_number_message(stage, state, where, precision))

    return Guard()


def _not_a_number_message(stage: Stage, state: State, where: str, precision: str) -> str:
    """Return what to say where the loss is not a number, and what to try."""
    key = f"stage.{state.stage}.learning_rate"
    half = ', or [hardware] precision = "float32"' if precision == "float16" else ""
    return (
        f"stage {stage.name}: the loss is not a number {where}. Most likely the learning rate is too high. "
        f"Start over with --force and a tenth of it, --set {key}={stage.learning_rate / 10:g}{half}. The run "
        "folder still holds the last complete epoch, but --resume would fail in the same way."
    )


@contextmanager
def own_error(*readers: BatchReader) -> Iterator[None]:
    """Re-raise the data-loading error of a reader instead of the backend's wrapper."""
    try:
        yield
    except Exception:
        if error := next((reader.error for reader in readers if reader.error), None):
            raise error from None
        raise


def report_progress(task: Task, stage: Stage, state: State, progress: Progress) -> Any:
    """Return the callback that reports the progress of the stage and a row of figures for each epoch.

    It comes after that of `keep_best`, which writes into `state` which epoch is the best.
    """
    import keras

    class Reporter(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch, self.start_time, self.seen = epoch, time.monotonic(), 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            before, self.seen = self.seen, min(batch + 1, self.params["steps"])  # several steps at once
            rate = self.seen * stage.batch_size / max(1e-9, time.monotonic() - self.start_time)
            figures = {name: (logs or {})[name] for name in ("loss", "accuracy") if name in (logs or {})}
            epoch = f"{self.epoch + 1}/{stage.epochs}"
            task.advance(self.seen - before, epoch=epoch, **figures, images_s=rate)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            figures = {name: float(value) for name, value in (logs or {}).items()}
            progress.say(progress_lines.row(stage, epoch + 1, figures, state.best_epoch == epoch + 1))
            seconds = time.monotonic() - self.start_time
            if line := progress_lines.time_left(stage, epoch + 1, seconds):
                progress.say(line)

    return Reporter()


def keep_best(
    train_model: Any, stage: Stage, state: State, path: Path, observers: Sequence[Observer] = ()
) -> Any:
    """Return the callback that keeps history and best epoch, stops early and writes checkpoints."""
    import keras

    class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.kept: list[NDArray[Any]] | None = None
            self.start_time = time.monotonic()

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.start_time = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            figures = {name: float(value) for name, value in (logs or {}).items()}
            seconds = round(time.monotonic() - self.start_time, 2)
            row = {"stage": stage.name, "epoch": epoch + 1, **figures, "seconds": seconds}
            state.history.append(row)
            if update_best_epoch(stage, state, figures, epoch + 1) or not stage.restore_best:
                self.kept = [values(variable) for variable in train_model.weights]
            self.model.stop_training = state.stopped
            checkpoint.save_checkpoint(path, train_model, state, self.kept or [])
            for observe in observers:
                observe(state.history)

        def restore(self) -> None:
            self.kept = checkpoint.load_checkpoint(path, train_model)

        def finish(self) -> None:
            if self.kept:
                train_model.set_weights(self.kept)

    return Keeper()


def update_best_epoch(stage: Stage, state: State, figures: dict[str, float], epoch: int) -> bool:
    """Update the best epoch in `state` and whether to stop; return whether this epoch is the best so far."""
    sign = -1.0 if stage.monitor == "val_accuracy" else 1.0
    value = sign * figures[stage.monitor]
    is_better = state.best is None or value < state.best
    if is_better:
        state.best, state.best_epoch, state.wait = value, epoch, 0
    else:
        state.wait += 1
    state.epoch = epoch
    state.stopped = bool(stage.patience) and state.wait >= stage.patience
    return is_better
