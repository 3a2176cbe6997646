"""Learning rates, optimizers, losses and metrics."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.stage_training import rate
from tledge import config
from tledge.training import optimizer


@pytest.mark.parametrize(("step", "wanted"), [(0, 0.2), (25, 0.1707107), (50, 0.1), (100, 0.0), (140, 0.0)])
def test_cosine_rate(step: int, wanted: float) -> None:
    """.2 / 2 * (1 + cos(pi * step / 100)), a quarter of the way 1 + sqrt(1/2)."""
    assert rate(100, learning_rate=0.2, schedule="cosine")(step) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("step", "wanted"), [(0, 0.2), (1, 0.19802), (100, 0.1), (900, 0.02)])
def test_inverse_time_rate(step: int, wanted: float) -> None:
    """.2 / (1 + .01 * step), whatever the stage's length is: as Keras 2's `decay` of SGD."""
    chosen = {"learning_rate": 0.2, "schedule": "inverse-time", "decay": 0.01}
    assert rate(50, **chosen)(step) == pytest.approx(wanted, rel=1e-5)
    assert rate(5000, **chosen)(step) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("step", "wanted"), [(0, 0.1), (10, 0.094868), (20, 0.09), (60, 0.0729)])
def test_exponential_rate(step: int, wanted: float) -> None:
    """.1 * .9 ** epoch with 20 steps an epoch, smoothly within an epoch."""
    chosen = {"learning_rate": 0.1, "schedule": "exponential", "decay": 0.9, "epochs": 5}
    assert rate(100, **chosen)(step) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential", "inverse-time"])
def test_stage_without_epochs_has_a_rate(schedule: str) -> None:
    made = rate(0, learning_rate=0.1, schedule=schedule, decay=0.5, epochs=0)
    assert (made if schedule == "constant" else made(0)) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "adamax"])
@pytest.mark.parametrize("schedule", ["cosine", "exponential", "inverse-time"])
def test_optimizers_take_their_options(name: str, schedule: str) -> None:
    stage = config.Stage(
        optimizer=name, learning_rate=0.02, momentum=0.5, schedule=schedule, weight_decay=0.1, decay=0.5
    )
    made = optimizer.optimizer(stage, steps=10)
    assert float(made.learning_rate) == pytest.approx(0.02)
    assert type(made).__name__.lower() == name and made.weight_decay == 0.1


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_loss_is_cross_entropy_of_p(smoothing: float) -> None:
    import keras

    stage = config.Stage(label_smoothing=smoothing)
    p, label = np.array([[0.1], [0.6], [0.99], [0.5]]), np.array([[0.0], [1.0], [1.0], [0.0]])
    soft = label * (1 - smoothing) + smoothing / 2
    wanted = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    pair = (np.hstack([1 - label, label]), np.hstack([1 - p, p]))
    assert float(optimizer.loss(stage)(*pair)) == pytest.approx(wanted, rel=1e-5)
    known = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
    assert float(known(label, p)) == pytest.approx(wanted, rel=1e-5)
    assert float(optimizer.loss(stage)(*pair)) == pytest.approx(wanted, rel=1e-5)


def test_categorical_loss_is_smoothed() -> None:
    """.1 over four classes: .925 for the right one, .025 for each other."""
    label, p = np.array([[0.0, 1, 0, 0]]), np.array([[0.1, 0.7, 0.15, 0.05]])
    found = float(optimizer.loss(config.Stage(label_smoothing=0.1))(label, p))
    assert found == pytest.approx(-(np.array([[0.025, 0.925, 0.025, 0.025]]) * np.log(p)).sum(), rel=1e-5)


@pytest.mark.parametrize(("classes", "count"), [(2, 1), (5, 1), (6, 2), (120, 2)])
def test_top5_needs_more_than_five(classes: int, count: int) -> None:
    assert len(optimizer.metrics(classes)) == count
