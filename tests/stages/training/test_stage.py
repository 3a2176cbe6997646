"""Rates, losses, weights of classes, batches and what a stage keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.fake_models import SMALL, images, small_net

from tledge import feeding, fitting, progress, recipe, tables
from tledge.errors import RecipeError, RunError

TEXT = '[data]\nsource = "drawn"\n[model]\nbackbone = "tiny"\nweights = "none"\n[[stage]]\n'


@pytest.fixture
def net() -> Any:
    return small_net()


def one_hot(count: int = 16, classes: int = 3) -> Any:
    return np.eye(classes, dtype=np.float32)[np.arange(count) % classes]


def fit(net: Any, stage: tables.Stage, examples: feeding.Examples, folder: Path) -> fitting.State:
    from tledge import model

    model.set_trainable(net, stage)
    state = fitting.State()
    fitting.fit(
        net, stage, state, examples, examples,
        seed=0, checkpoint=folder / "state.npz", watch=progress.SILENT,
    )  # fmt: skip
    return state


def rate(steps: int, **keys: Any) -> Any:
    """The learning rate at a step of a stage that takes `steps` steps in all."""
    made = fitting._rate(tables.Stage(**keys), steps)
    return made if isinstance(made, float) else lambda step: float(made(step))


def test_constant_rate_is_a_number() -> None:
    assert rate(100, learning_rate=0.02) == 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("step", "wanted"), [(0, 0.2), (25, 0.1707107), (50, 0.1), (100, 0.0), (140, 0.0)])
def test_cosine_rate(step: int, wanted: float) -> None:
    """.2 / 2 * (1 + cos(pi * step / 100)), a quarter of the way 1 + sqrt(1/2)."""
    assert rate(100, learning_rate=0.2, schedule="cosine")(step) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "wanted"), [(0, 0.2), (1, 0.19802), (100, 0.1), (900, 0.02)])
def test_inverse_time_rate(step: int, wanted: float) -> None:
    """.2 / (1 + .01 * step), whatever the stage's length is: as Keras 2's `decay` of SGD."""
    chosen = {"learning_rate": 0.2, "schedule": "inverse-time", "decay": 0.01}
    assert rate(50, **chosen)(step) == pytest.approx(wanted, rel=1e-5)
    assert rate(5000, **chosen)(step) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "wanted"), [(0, 0.1), (10, 0.094868), (20, 0.09), (60, 0.0729)])
def test_exponential_rate(step: int, wanted: float) -> None:
    """.1 * .9 ** epoch with 20 steps an epoch, smoothly within an epoch."""
    chosen = {"learning_rate": 0.1, "schedule": "exponential", "decay": 0.9, "epochs": 5}
    assert rate(100, **chosen)(step) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential", "inverse-time"])
def test_stage_without_epochs_has_a_rate(schedule: str) -> None:
    made = rate(0, learning_rate=0.1, schedule=schedule, decay=0.5, epochs=0)
    assert (made if schedule == "constant" else made(0)) == pytest.approx(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "adamax"])
@pytest.mark.parametrize("schedule", ["cosine", "exponential", "inverse-time"])
def test_optimizers_take_their_options(name: str, schedule: str) -> None:
    stage = tables.Stage(
        optimizer=name, learning_rate=0.02, momentum=0.5, schedule=schedule, weight_decay=0.1, decay=0.5
    )
    made = fitting.optimizer(stage, steps=10)
    assert float(made.learning_rate) == pytest.approx(0.02)
    assert type(made).__name__.lower() == name and made.weight_decay == 0.1


@pytest.mark.slow
def test_rate_falls_while_training(net: Any, tmp_path: Path) -> None:
    """6 steps of inverse time: the optimizer ends at .01 / (1 + .5 * 6)."""
    stage = tables.Stage(
        epochs=3, batch_size=8, learning_rate=0.01, schedule="inverse-time", decay=0.5, optimizer="sgd"
    )
    fit(net, stage, feeding.Examples(images(), one_hot(), np.arange(16)), tmp_path)
    assert int(net.optimizer.iterations) == 6
    assert float(net.optimizer.learning_rate) == pytest.approx(0.0025)


# Weights of classes

UNEVEN = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])


def uneven(rows: Any = None) -> feeding.Examples:
    labels = np.eye(3, dtype=np.float32)[UNEVEN]
    return feeding.Examples(images(10), labels, np.arange(10) if rows is None else rows)


def test_class_weights_by_worked_example() -> None:
    """scikit-learn's "balanced": 10 / (3 * [6, 3, 1])."""
    found = uneven().class_weights()
    assert found.dtype == np.float32
    assert np.allclose(found, [10 / 18, 10 / 9, 10 / 3])
    assert found[UNEVEN].mean() == pytest.approx(1)
    assert np.allclose([found[UNEVEN][label == UNEVEN].sum() for label in range(3)], 10 / 3)


def test_class_weights_count_own_rows() -> None:
    """Of the rows in this split alone, not of all photos."""
    assert np.allclose(uneven(np.array([0, 1, 6, 9])).class_weights(), [4 / 6, 4 / 3, 4 / 3])
    assert np.isfinite(uneven(np.array([0, 6])).class_weights()).all()


@pytest.mark.slow
def test_batches_carry_weights() -> None:
    stage = tables.Stage(class_weights="balanced", batch_size=4)
    data = feeding.batches(uneven(), stage, seed=0, epoch=0, train=True)
    parts = [data[number] for number in range(len(data))]
    assert [len(weights) for _images, _labels, weights in parts] == [4, 4, 2]
    for _images, labels, weights in parts:
        assert np.allclose(weights, np.array([10 / 18, 10 / 9, 10 / 3])[labels.argmax(1)])
    plain = feeding.batches(uneven(), tables.Stage(batch_size=4), seed=0, epoch=0, train=True)
    assert all(np.array_equal(one[1], plain[number][1]) for number, one in enumerate(parts))
    assert len(plain[0]) == 2


@pytest.mark.slow
def test_validation_is_not_weighted() -> None:
    stage = tables.Stage(class_weights="balanced")
    assert len(feeding.batches(uneven(), stage, seed=0, epoch=0, train=False)[0]) == 2


@pytest.mark.slow
def test_mixed_photos_have_mixed_weights() -> None:
    stage = tables.Stage(class_weights="balanced", mixup=0.4, batch_size=10)
    _images, labels, weights = feeding.batches(uneven(), stage, seed=0, epoch=0, train=True)[0]
    assert ((labels > 0).sum(1) > 1).sum() > 0  # some are blends of two classes
    assert np.allclose(weights, (labels * [10 / 18, 10 / 9, 10 / 3]).sum(1), atol=1e-5)


@pytest.mark.slow
def test_weights_reach_the_loss(net: Any, tmp_path: Path) -> None:
    """First epoch in one batch, learning nothing: the weighted mean of the photos' losses."""
    stage = tables.Stage(epochs=1, batch_size=10, learning_rate=0.0, class_weights="balanced")
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


# Losses and figures


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_loss_is_cross_entropy_of_p(smoothing: float) -> None:
    import keras

    stage = tables.Stage(label_smoothing=smoothing)
    p, label = np.array([[0.1], [0.6], [0.99], [0.5]]), np.array([[0.0], [1.0], [1.0], [0.0]])
    soft = label * (1 - smoothing) + smoothing / 2
    wanted = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    pair = (np.hstack([1 - label, label]), np.hstack([1 - p, p]))
    assert float(fitting.loss(stage)(*pair)) == pytest.approx(wanted, rel=1e-5)
    known = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
    assert float(known(label, p)) == pytest.approx(wanted, rel=1e-5)
    assert float(fitting.loss(stage)(*pair)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_categorical_loss_is_smoothed() -> None:
    """.1 over four classes: .925 for the right one, .025 for each other."""
    label, p = np.array([[0.0, 1, 0, 0]]), np.array([[0.1, 0.7, 0.15, 0.05]])
    found = float(fitting.loss(tables.Stage(label_smoothing=0.1))(label, p))
    assert found == pytest.approx(-(np.array([[0.025, 0.925, 0.025, 0.025]]) * np.log(p)).sum(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "count"), [(2, 1), (5, 1), (6, 2), (120, 2)])
def test_top5_needs_more_than_five(classes: int, count: int) -> None:
    assert len(fitting.metrics(classes)) == count


@pytest.mark.slow
def test_top5_is_in_the_history(tmp_path: Path) -> None:
    from tledge import model

    net = model.build(SMALL, 8)
    examples = feeding.Examples(images(24), one_hot(24, 8), np.arange(24))
    state = fit(net, tables.Stage(epochs=1, learning_rate=0.0), examples, tmp_path)
    answers = net.predict(examples.images.astype(np.float32), verbose=0)
    best = np.argsort(-answers, axis=1)[:, :5]
    wanted = (best == examples.labels.argmax(1)[:, None]).any(1).mean()
    assert state.history[0]["val_top5"] == pytest.approx(wanted)
    assert state.history[0]["val_accuracy"] < 1 and "top5" in state.history[0]


def test_best_epoch_and_patience() -> None:
    stage, state = tables.Stage(patience=2), fitting.State()
    better = [
        fitting.judge(stage, state, {"val_loss": loss}, epoch)
        for epoch, loss in enumerate((0.9, 0.5, 0.6, 0.7), 1)
    ]
    assert better == [True, True, False, False]
    assert state.best_epoch == 2 and state.stopped and state.epoch == 4


def test_mixup_blends_labels_alike() -> None:
    batch, labels = images().astype(np.float32), one_hot()
    made, blended = feeding.mixed(batch, labels, 0.4, np.random.default_rng(1))
    assert made.shape == batch.shape and np.allclose(blended.sum(1), 1)
    assert not np.allclose(made, batch) and made.max() <= 255


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_refused(net: Any, tmp_path: Path) -> None:
    net.get_layer("logits").kernel.assign(net.get_layer("logits").kernel * np.float32("nan"))
    with pytest.raises(RunError, match="wild: begins with weights that are not numbers"):
        fit(net, WILD, feeding.Examples(images(), one_hot(), np.arange(16)), tmp_path)
    assert not list(tmp_path.iterdir())


WILD = tables.Stage(
    name="wild", epochs=40, optimizer="sgd", learning_rate=100.0, weight_decay=10.0, unfreeze="all",
    batch_size=4, restore_best=False,
)  # fmt: skip
"""Every step makes the weights a thousand times as large."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "where"), [(4, r"in epoch \d+, at step \d"), (16, r"in validation after epoch")]
)
def test_loss_that_is_no_number_stops(net: Any, tmp_path: Path, size: int, where: str) -> None:
    """At once, with what to set instead, and never into the checkpoint."""
    stage = replace(WILD, batch_size=size)
    with pytest.raises(RunError, match=f"wild: the loss is not a number {where}.*learning_rate=10") as caught:
        fit(net, stage, feeding.Examples(images(), one_hot(), np.arange(16)), tmp_path)
    assert "float32" not in str(caught.value)
    state = fitting.read_state(tmp_path / "state.npz")
    assert 0 < state.epoch < 40 and len(state.history) == state.epoch
    with np.load(tmp_path / "state.npz") as packed:
        assert all(np.isfinite(packed[name]).all() for name in packed.files if name != "state")


def test_half_precision_is_among_what_to_try() -> None:
    said = fitting._no_number(tables.Stage(name="all"), fitting.State(stage=1), "in epoch 1", "float16")
    assert 'precision = "float32"' in said and "--set stage.1.learning_rate=0.0001" in said


@pytest.mark.slow
def test_moving_average_of_weights_is_kept(net: Any, tmp_path: Path) -> None:
    stage = tables.Stage(name="ema", epochs=3, ema=0.9, learning_rate=0.05, restore_best=False)
    before = net.get_layer("logits").kernel.numpy()
    state = fit(net, stage, feeding.Examples(images(), one_hot(), np.arange(16)), tmp_path)
    after = net.get_layer("logits").kernel.numpy()
    assert state.epoch == 3 and not np.array_equal(before, after) and np.isfinite(after).all()


@pytest.mark.slow
def test_views_are_drawn_once_in_turns(tmp_path: Path) -> None:
    from tledge.training import _with_views

    made = recipe.parse(TEXT, "views.toml")
    made = replace(made, augment=tables.Augment(flip="horizontal", rotation=0.2, views=2))
    plain = feeding.Examples(images(), one_hot(), np.arange(4, 12))
    first, again = (
        _with_views(plain, made, tmp_path / name / "views.npy", progress.SILENT) for name in ("a", "b")
    )
    assert first.views is not None and first.views.shape == (2, 8, 32, 32, 3)
    assert np.array_equal(first.views, again.views)
    assert np.array_equal(first.views[0], images()[4:12])
    changed = replace(made, augment=replace(made.augment, keep_photo=False))
    others = _with_views(plain, changed, tmp_path / "c" / "views.npy", progress.SILENT).views
    assert others is not None and not any(np.array_equal(view, images()[4:12]) for view in others)
    taken = [first.take(np.arange(8), epoch) for epoch in range(3)]
    assert np.array_equal(taken[0], taken[2]) and not np.array_equal(taken[0], taken[1])


def test_views_of_nothing_are_refused() -> None:
    with pytest.raises(RecipeError, match="nothing to draw"):
        recipe.parse(TEXT, "views.toml", ["augment.views=3"])


def test_one_view_is_no_augmentation() -> None:
    with pytest.raises(RecipeError, match="expected 0, or 2 and more"):
        recipe.parse(TEXT, "views.toml", ["augment.views=1", "augment.rotation=0.1"])
    only_changed = ["augment.views=1", "augment.rotation=0.1", "augment.keep_photo=false"]
    assert recipe.parse(TEXT, "views.toml", only_changed).augment.views == 1


def test_photo_is_kept_among_views_only() -> None:
    with pytest.raises(RecipeError, match="there are no views"):
        recipe.parse(TEXT, "views.toml", ["augment.rotation=0.1", "augment.keep_photo=false"])
