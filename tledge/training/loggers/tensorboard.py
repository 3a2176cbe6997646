"""Write what TensorBoard shows of a run: `tensorboard/train` and `validation`, images, the graph.

The figures of an epoch are written when it ends. Times count from the beginning of training, as in
`history.csv`, so that the files hold nothing that the run does not hold.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract
from tledge._process import optional_imports
from tledge.data.cache import Prepared
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.training import augmentation_sheet
from tledge.training.loggers import event_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

History = Sequence[Mapping[str, Any]]

PARTS = ("train", "validation")
"""Folders in `tensorboard/`, which TensorBoard draws as curves of one plot."""

VALIDATION_PREFIX = "val_"
"""Keras' prefix of figures on the validation split."""


class ScalarLogger:
    """Write the figures of every epoch: call it with the history after each."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder.tensorboard
        self._written = 0

    def __call__(self, history: History) -> None:
        """Append the last row; write all rows again where more has changed, as after --resume."""
        is_next = self._written and len(history) == self._written + 1
        for part in PARTS:
            events = list(_scalars(part, history))
            path = self._folder / part / event_file.NAME
            if is_next:
                event_file.append(path, events[-1:])
            else:
                event_file.write(path, events)
        self._written = len(history)


def _scalars(part: str, history: History) -> Iterator[bytes]:
    """Yield an event for every epoch; that of the train part also has the stage, counting from 1."""
    stages = list(dict.fromkeys(row["stage"] for row in history))
    times = itertools.accumulate(row["seconds"] for row in history)
    for step, (row, seconds) in enumerate(zip(history, times, strict=True), 1):
        validation = {name for name in row if name.startswith(VALIDATION_PREFIX)}
        if part == "validation":
            values = {name.removeprefix(VALIDATION_PREFIX): row[name] for name in row if name in validation}
        else:
            others = (name for name in row if name not in (*validation, "stage", "epoch"))
            values = {name: row[name] for name in others} | {"stage": stages.index(row["stage"]) + 1}
        yield event_file.scalars(step, seconds, values)


def write(
    folder: RunFolder,
    recipe: Recipe,
    core: Any,
    prepared: Prepared,
    train: NDArray[np.int64],
    history: History,
) -> None:
    """Write all of a finished training: figures, images and, with TensorFlow, the graph of `core`.

    `train` are the rows of the train images. The confusion matrix is that of `confusion.png`.
    """
    ScalarLogger(folder)(history)
    last = len(history), sum(row["seconds"] for row in history)
    images = [event_file.image(*last, "confusion", (folder.path / "confusion.png").read_bytes())]
    if sheet := _augmented(recipe, prepared, train):
        images.append(event_file.image(0, 0.0, "augmented train photos", sheet))
    content = graph(core)
    others = [event_file.graph(content)] if content else []
    event_file.write(folder.tensorboard / event_file.NAME, [*others, *images])


def _augmented(recipe: Recipe, prepared: Prepared, train: NDArray[np.int64]) -> bytes:
    """Return the PNG of augmented train images; empty where the recipe changes none."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = augmentation_sheet.augmented(prepared, train, recipe.augment, Path(scratch), recipe.meta.seed)
        return paths[0].read_bytes() if paths else b""


def graph(core: Any) -> bytes:
    """Return the `GraphDef` of a network in inference, without weights; empty with another backend."""
    keras = optional_imports.load("keras", "train")
    if keras.backend.backend() != "tensorflow":
        return b""
    tf = optional_imports.load("tensorflow", "train")
    image_spec = tf.TensorSpec(core.input_shape, "float32", contract.INPUT_NAME)
    traced = tf.function(lambda image: core(image, training=False)).get_concrete_function(image_spec)
    return bytes(traced.graph.as_graph_def().SerializeToString(deterministic=True))
