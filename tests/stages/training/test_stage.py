"""A stage: what it learns, keeps and refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_models import SMALL, images, small_net
from tests.helpers.stage_training import UNEVEN, one_hot, uneven
from tledge import config
from tledge.errors import RunError
from tledge.progress import SILENT
from tledge.training import batches, checkpoint
from tledge.training import stage as training_stage


@pytest.fixture
def net() -> Any:
    return small_net()


def fit(net: Any, stage: config.Stage, examples: batches.Examples, folder: Path) -> checkpoint.State:
    from tledge.models import classifier

    classifier.set_trainable(net, stage)
    state = checkpoint.State()
    training_stage.fit(
        net, stage, state, examples, examples,
        seed=0, checkpoint=folder / "state.npz", progress=SILENT,
    )  # fmt: skip
    return state


def test_rate_falls_while_training(net: Any, tmp_path: Path) -> None:
    """6 steps of inverse time: the optimizer ends at .01 / (1 + .5 * 6)."""
    stage = config.Stage(
        epochs=3, batch_size=8, learning_rate=0.01, schedule="inverse-time", decay=0.5, optimizer="sgd"
    )
    fit(net, stage, batches.Examples(images(), one_hot(), np.arange(16)), tmp_path)
    assert int(net.optimizer.iterations) == 6
    assert float(net.optimizer.learning_rate) == pytest.approx(0.0025)


def test_weights_reach_the_loss(net: Any, tmp_path: Path) -> None:
    """First epoch in one batch, learning nothing: the weighted mean of the photos' losses."""
    stage = config.Stage(epochs=1, batch_size=10, learning_rate=0.0, class_weights="balanced")
    net.get_layer("dropout").rate = 0.0
    net.get_layer("logits").bias.assign([0.0, 1.0, 3.0])
    examples = uneven()
    state = fit(net, stage, examples, tmp_path)
    answers = net.predict(examples.images.astype(np.float32), verbose=0)
    each = -np.log((answers * examples.labels).sum(1))
    weights = np.array([10 / 18, 10 / 9, 10 / 3])[UNEVEN]
    assert state.history[0]["loss"] == pytest.approx((each * weights).mean(), rel=1e-4)
    assert state.history[0]["val_loss"] == pytest.approx(each.mean(), rel=1e-4)
    assert abs((each * weights).mean() - each.mean()) > 0.1
    assert state.history[0]["accuracy"] == pytest.approx((answers.argmax(1) == UNEVEN).mean())


def test_top5_is_in_the_history(tmp_path: Path) -> None:
    from tledge.models import classifier

    net = classifier.build(SMALL, 8)
    examples = batches.Examples(images(24), one_hot(24, 8), np.arange(24))
    state = fit(net, config.Stage(epochs=1, learning_rate=0.0), examples, tmp_path)
    answers = net.predict(examples.images.astype(np.float32), verbose=0)
    best = np.argsort(-answers, axis=1)[:, :5]
    wanted = (best == examples.labels.argmax(1)[:, None]).any(1).mean()
    assert state.history[0]["val_top5"] == pytest.approx(wanted)
    assert state.history[0]["val_accuracy"] < 1 and "top5" in state.history[0]


def test_weights_that_are_no_numbers_are_refused(net: Any, tmp_path: Path) -> None:
    net.get_layer("logits").kernel.assign(net.get_layer("logits").kernel * np.float32("nan"))
    with pytest.raises(RunError, match="wild: begins with weights that are not numbers"):
        fit(net, WILD, batches.Examples(images(), one_hot(), np.arange(16)), tmp_path)
    assert not list(tmp_path.iterdir())


WILD = config.Stage(
    name="wild", epochs=40, optimizer="sgd", learning_rate=100.0, weight_decay=10.0, unfreeze="all",
    batch_size=4, restore_best=False,
)  # fmt: skip
"""Every step makes the weights a thousand times as large."""


@pytest.mark.parametrize(
    ("size", "where"), [(4, r"in epoch \d+, at step \d"), (16, r"in validation after epoch")]
)
def test_loss_that_is_no_number_stops(net: Any, tmp_path: Path, size: int, where: str) -> None:
    """At once, with what to set instead, and never into the checkpoint."""
    stage = replace(WILD, batch_size=size)
    with pytest.raises(RunError, match=f"wild: the loss is not a number {where}.*learning_rate=10") as caught:
        fit(net, stage, batches.Examples(images(), one_hot(), np.arange(16)), tmp_path)
    assert "float32" not in str(caught.value)
    state = checkpoint.read_state(tmp_path / "state.npz")
    assert 0 < state.epoch < 40 and len(state.history) == state.epoch
    with np.load(tmp_path / "state.npz") as packed:
        assert all(np.isfinite(packed[name]).all() for name in packed.files if name != "state")


def test_moving_average_of_weights_is_kept(tmp_path: Path) -> None:
    """After two steps it is .9 of the weights after the first and .1 of those after the second."""
    plain = config.Stage(
        name="ema", epochs=1, optimizer="sgd", batch_size=16, learning_rate=0.5, restore_best=False
    )
    examples = batches.Examples(images(), one_hot(), np.arange(16))

    def bias_after(stage: config.Stage) -> Any:
        trained = small_net()
        state = fit(trained, stage, examples, tmp_path)
        assert state.epoch == stage.epochs
        return trained.get_layer("logits").bias.numpy()

    first, second = bias_after(plain), bias_after(replace(plain, epochs=2))
    averaged = bias_after(replace(plain, epochs=2, ema=0.9))
    np.testing.assert_allclose(averaged, 0.9 * first + 0.1 * second, atol=1e-5)
    assert np.abs(second - first).max() > 1e-3, "or the average says nothing"
