"""A stage on the small network, trained with any precision on any devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_models import images, small_net
from tests.helpers.recipes import drawn, tiny_recipe
from tledge.config import Hardware, Stage
from tledge.progress import SILENT, Progress, Silent
from tledge.training import accelerators, batches, checkpoint
from tledge.training import stage as training_stage
from tledge.training.accelerators import Engine

TWO_STAGES = tiny_recipe(
    drawn(90, 30, 48),
    """name = "head"
epochs = 1
batch_size = 8
[[stage]]
name = "all"
epochs = 3
unfreeze = "all"
batch_norm = "train"
batch_norm_momentum = 0.8
batch_size = 8""",
    share=0.2,
    model="dropout = 0.0\nhead_batch_norm = true",
)


class Listener(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def one_hot(count: int) -> Any:
    return np.eye(3, dtype=np.float32)[np.arange(count) % 3]


def examples(count: int = 19) -> batches.Examples:
    return batches.Examples(images(count), one_hot(count), np.arange(count))


def fit(
    net: Any,
    stage: Stage,
    path: Path,
    engine: Engine = accelerators.PLAIN,
    state: checkpoint.State | None = None,
    progress: Progress = SILENT,
) -> checkpoint.State:
    from tledge.models import classifier

    classifier.set_trainable(net, stage)
    state = state or checkpoint.State()
    training_stage.fit(
        net, stage, state, examples(), examples(7),
        seed=0, checkpoint=path / "state.npz", progress=progress, engine=engine,
    )  # fmt: skip
    return state


def built(table: Hardware) -> Any:
    with Engine(table).building():
        net = small_net()
    net.get_layer("dropout").rate = 0.0
    return net


HALVING = Stage(
    name="all", epochs=3, unfreeze="all", batch_size=8, learning_rate=0.01,
    schedule="cosine", restore_best=False,
)  # fmt: skip


def near(first: Any, second: Any, atol: float) -> bool:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.allclose(one, other, atol=atol) for one, other in pairs)


def full_above(monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    """A device that holds `limit` images; gives the sizes of the batches that it saw."""
    import keras
    import tensorflow as tf

    seen: list[int] = []
    before = batches.batches

    def planted(*rest: Any, **options: Any) -> Any:
        data = before(*rest, **options)

        class Watched(type(data)):  # type: ignore[misc]
            def __getitem__(self, number: int) -> Any:
                found = super().__getitem__(number)
                seen.append(len(found[0]))
                return found

        data.__class__ = Watched
        return data

    def fitted(self: Any, *rest: Any, before: Any = keras.Model.fit, **options: Any) -> Any:
        if len(rest[0][0][0]) > limit:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return before(self, *rest, **options)

    monkeypatch.setattr(training_stage, "batches", planted)
    monkeypatch.setattr(keras.Model, "fit", fitted)
    return seen
