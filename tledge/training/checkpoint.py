"""Checkpoints: where training stands, and all that resuming needs.

A training has two files. `state.npz` is written after every epoch: the state, the network's
variables with the optimizer's, and the best weights. `stage.npz` is written between two stages: the
weights that the running stage began with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, files, npy
from tledge._io.json_records import from_json, stored_as, to_json
from tledge.errors import RunError
from tledge.run.records import Score

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESTART = "Start over with --force."


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
    first_stage_validation: Score | None = field(default=None, metadata=stored_as("frozen"))
    history: list[dict[str, Any]] = field(default_factory=list)

    def begin_stage(self, number: int, accumulate: int = 1) -> None:
        """Stand at the beginning of stage `number`."""
        self.stage, self.epoch, self.best, self.best_epoch, self.wait = number, 0, None, 0, 0
        self.stopped, self.accumulate = False, accumulate

    def restart_stage(self, accumulate: int) -> None:
        """Forget the epochs of the running stage: with `accumulate`, its optimizer has other variables."""
        self.history = self.history[: len(self.history) - self.epoch]
        self.begin_stage(self.stage, accumulate)


def values(variable: Any) -> NDArray[Any]:
    """Return a copy of a Keras variable, which later steps do not change."""
    import keras
    import numpy as np

    return np.array(keras.ops.convert_to_numpy(variable))


def _all_variables(train_model: Any) -> list[Any]:
    """List weights, random generators and optimizer state, in Keras' order."""
    optimizer = train_model.optimizer
    return [*train_model.variables, *(optimizer.variables if optimizer else [])]


def save_checkpoint(path: Path, train_model: Any | None, state: State, kept: list[NDArray[Any]]) -> None:
    """Write everything that resuming needs, atomically.

    `train_model` is None between two stages, where only the `kept` weights count.
    """
    import numpy as np

    variables = _all_variables(train_model) if train_model is not None else []
    arrays = {f"now.{n:05d}": values(v) for n, v in enumerate(variables)}
    arrays |= {f"kept.{n:05d}": values for n, values in enumerate(kept)}
    arrays["state"] = np.array(json.dumps(to_json(state)))
    with atomic.replacing(path) as unfinished:
        npy.write_npz(unfinished, arrays)


def read_state(path: Path) -> State:
    """Return the state in a checkpoint, or a new one where there is no checkpoint yet.

    Raises:
        RunError: the file is damaged, or another version of tledge wrote it.
    """
    if not path.is_file():
        return State()
    packed = npy.read_npz(path, "checkpoint", "state")
    with files.complete(path, RESTART):
        return from_json(State, json.loads(str(packed["state"].reshape(-1)[0])))


def load_checkpoint(path: Path, train_model: Any | None) -> list[NDArray[Any]]:
    """Put a checkpoint's values into model and optimizer; return the kept weights.

    Raises:
        RunError: the file is damaged, or does not fit the model.
    """
    packed = npy.read_npz(path, "checkpoint")
    variables = _all_variables(train_model) if train_model is not None else []
    names = sorted(name for name in packed if name.startswith("now."))
    if [packed[name].shape for name in names] != [tuple(variable.shape) for variable in variables]:
        raise RunError(f"{path}: the checkpoint belongs to another recipe. {RESTART}")
    for name, variable in zip(names, variables, strict=True):
        variable.assign(packed[name])
    return [packed[name] for name in sorted(packed) if name.startswith("kept.")]
