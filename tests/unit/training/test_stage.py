"""How a stage is set up: the schedule spans all its epochs, and averaged weights are what it validates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_keras
from tests.helpers.stage_training import one_hot
from tledge.config import Stage
from tledge.progress import SILENT
from tledge.training import accelerators
from tledge.training import stage as training_stage
from tledge.training.batch_partition import BatchPartition
from tledge.training.batches import Examples
from tledge.training.checkpoint import State
from tledge.training.stage import StageFit


@pytest.fixture(autouse=True)
def _without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_keras.install(monkeypatch)


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_resumed_stage_keeps_its_learning_rates(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer's steps come from the checkpoint, so the schedule is that of the whole stage."""
    updates = []

    def optimizer(_stage: Stage, steps: int, _accumulate: int) -> Any:
        updates.append(steps)
        return fake_keras.Optimizer()

    monkeypatch.setattr(training_stage, "optimizer", optimizer)
    monkeypatch.setattr(training_stage, "loss", lambda _stage: "loss")
    monkeypatch.setattr(training_stage, "metrics", lambda *_, **__: [])
    network, stage = fake_keras.Network(), Stage(epochs=5, batch_size=8)
    examples = Examples(np.zeros((16, 4, 4, 3), np.uint8), one_hot(), np.arange(16))
    fitting = StageFit(
        network, stage, State(epoch=epoch), examples, examples, 0, Path(), SILENT, accelerators.PLAIN, ()
    )
    training_stage._compile(fitting, network, BatchPartition(8))
    assert updates == [5 * 2]
    assert network.optimizer.built_for == [network.weight]


def test_averaged_weights_are_swapped_in_for_every_validation() -> None:
    (swap,) = training_stage._weight_averages(Stage(ema=0.9), State())
    assert isinstance(swap, fake_keras.SwapEMAWeights) and swap.swap_on_epoch
    assert not hasattr(swap, "_ema_weights_in_model")
    assert training_stage._weight_averages(Stage(), State()) == []


def test_a_resumed_stage_begins_with_averaged_weights_in_the_network() -> None:
    """Because checkpoints are written while they are swapped in."""
    (swap,) = training_stage._weight_averages(Stage(ema=0.9), State(epoch=2))
    assert swap._ema_weights_in_model is True
