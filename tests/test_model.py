"""Building, freezing, augmenting and correcting the Keras model, on a small network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tledge import fitting, tables
from tledge.errors import MissingError, RecipeError, RunError

pytestmark = pytest.mark.slow
SMALL = tables.Model(backbone="tiny", weights="none", image_size=32)


@pytest.fixture
def net() -> Any:
    import keras

    from tledge import model

    keras.utils.set_random_seed(0)
    return model.build(SMALL, 3)


def images(count: int = 16) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def one_hot(count: int = 16) -> Any:
    return np.eye(3, dtype=np.float32)[np.arange(count) % 3]


def test_probabilities_from_bytes(net: Any) -> None:
    found = net.predict(images().astype(np.float32), verbose=0)
    assert found.shape == (16, 3)
    assert np.allclose(found.sum(1), 1, atol=1e-5) and np.ptp(found, axis=0).max() > 0


def test_frozen_base_keeps_head_trainable(net: Any) -> None:
    from tledge import model

    model.set_trainable(net, tables.Stage(unfreeze="none"))
    assert [one.path for one in net.trainable_variables] == ["logits/kernel", "logits/bias"]


def test_unfreeze_from_layer_name(net: Any) -> None:
    from tledge import model

    model.set_trainable(net, tables.Stage(unfreeze="block_5_conv", batch_norm="inference"))
    assert [one.path for one in net.trainable_variables] == [
        "block_5_conv/kernel",
        "logits/kernel",
        "logits/bias",
    ]


def test_unfreeze_counts_from_top(net: Any) -> None:
    from tledge import model

    names = [layer.name for layer in net.layers]
    frozen = model.set_trainable(net, tables.Stage(unfreeze=3, batch_norm="train"))
    assert frozen == names.index("pool") - 3
    assert net.layers[frozen].trainable and not net.layers[frozen - 1].trainable


def test_unknown_layer_names_nearest(net: Any) -> None:
    from tledge import model

    with pytest.raises(RecipeError, match="block_3_conv"):
        model.set_trainable(net, tables.Stage(unfreeze="block_3_convv"))


def test_missing_weights_file_is_named(tmp_path: Path) -> None:
    from tledge import model

    table = tables.Model(backbone="tiny", weights=str(tmp_path / "none.h5"), image_size=32)
    with pytest.raises(MissingError, match=r"none\.h5"):
        model.build(table, 3)


@pytest.mark.parametrize(("mode", "moves"), [("inference", False), ("train", True)])
def test_batch_norm_statistics(net: Any, mode: str, moves: bool) -> None:
    """Keras updates statistics of any trainable batch norm in `fit`; "inference" must not."""
    from tledge import model

    model.set_trainable(net, tables.Stage(unfreeze="all", batch_norm=mode, batch_norm_momentum=0.9))
    before = net.get_layer("stem_conv_BN").moving_mean.numpy()
    net.compile("sgd", "categorical_crossentropy")
    net.fit(images().astype(np.float32), one_hot(), verbose=0)
    after = net.get_layer("stem_conv_BN").moving_mean.numpy()
    assert np.array_equal(before, after) is not moves
    assert net.get_layer("stem_conv_BN").momentum == 0.9


def test_augmentation_only_while_training(net: Any) -> None:
    from tledge import model

    table = tables.Augment(flip="horizontal", rotation=0.2, brightness=0.3, saturation=0.3, hue=0.1)
    whole = model.with_augmentation(net, table, seed=1)
    batch = images().astype(np.float32)
    plain = net(batch, training=False).numpy()
    assert np.array_equal(whole(batch, training=False).numpy(), plain)
    assert not np.allclose(whole(batch, training=True).numpy(), plain, atol=1e-4)
    assert not any("random" in layer.name for layer in net.layers)


def test_every_augmentation_builds() -> None:
    from dataclasses import fields

    from tledge import model

    for one in fields(tables.Augment):
        if one.name in ("fill", "views"):
            continue
        value = "vertical" if one.name == "flip" else 0.2
        (layer,) = model.augmentation(tables.Augment(**{one.name: value}), seed=0)
        made = layer(images(4).astype(np.float32), training=True)
        assert made.shape == (4, 32, 32, 3), one.name


def test_saved_model_repeats_bytes(net: Any, tmp_path: Path) -> None:
    from tledge import model

    model.save(net, tmp_path / "one.keras")
    model.save(net, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    again = model.load(tmp_path / "one.keras")
    assert all(np.array_equal(a, b) for a, b in zip(net.get_weights(), again.get_weights(), strict=True))


def shifts(net: Any, rounded: Any, batch: Any, layer: str) -> Any:
    """Difference of the means of a layer's outputs, float against rounded weights, by channel."""
    import keras

    means = []
    for one in (net, rounded):
        part = keras.Model(one.input, one.get_layer(layer).output)
        means.append(part.predict(batch, verbose=0).mean((0, 1, 2)))
    return np.abs(means[0] - means[1])


def test_bias_correction_removes_shift(net: Any) -> None:
    """An independent look: round the kernels for real and compare channel means before and after."""
    import keras

    from tledge.quantization import correct_biases, round_weights

    batch = images(32) // 8 + 220  # bright: rounding shifts a mean only where the mean is not 0
    corrected = keras.models.clone_model(net)
    corrected.set_weights(net.get_weights())
    done = correct_biases(corrected, batch)
    plain = keras.models.clone_model(net)
    plain.set_weights(net.get_weights())
    for one in (corrected, plain):
        layer = one.get_layer("stem_conv")
        layer.set_weights([round_weights(layer.get_weights()[0], (0, 1, 2))])
    before = shifts(net, plain, batch.astype(np.float32), "stem_conv_BN")
    after = shifts(net, corrected, batch.astype(np.float32), "stem_conv_BN")
    assert len(done) == 12 and done[0].target == "stem_conv_BN"
    assert before.max() > 1e-3 and after.max() < before.max() / 50


def test_rounding_matches_worked_example() -> None:
    from tledge.quantization import round_weights

    kernel = np.array([[1.27, 0.004], [-0.006, -2.54]], np.float32)
    wanted = np.array([[1.27, 0.0], [-0.01, -2.54]], np.float32)
    assert np.allclose(round_weights(kernel, (0,)), wanted, atol=1e-6)
    assert np.array_equal(round_weights(np.zeros((2, 2), np.float32), (0,)), np.zeros((2, 2)))


def test_depthwise_rounds_by_channel() -> None:
    from types import SimpleNamespace

    from tledge.quantization import _channel_axes

    kernel = np.zeros((3, 3, 8, 1), np.float32)
    assert _channel_axes(type("DepthwiseConv2D", (SimpleNamespace,), {})(), kernel) == (0, 1)
    assert _channel_axes(type("Conv2D", (SimpleNamespace,), {})(), kernel) == (0, 1, 2)


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
    made, blended = fitting.mixed(batch, labels, 0.4, np.random.default_rng(1))
    assert made.shape == batch.shape and np.allclose(blended.sum(1), 1)
    assert not np.allclose(made, batch) and made.max() <= 255


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "adamax"])
def test_optimizers_take_their_options(name: str) -> None:
    stage = tables.Stage(
        optimizer=name, learning_rate=0.02, momentum=0.5, schedule="cosine", weight_decay=0.1
    )
    made = fitting.optimizer(stage, steps=10)
    assert float(made.learning_rate) == pytest.approx(0.02)
    assert type(made).__name__.lower() == name and made.weight_decay == 0.1


def test_loss_that_is_no_number_stops(net: Any, tmp_path: Path) -> None:
    from tledge import model, progress

    stage = tables.Stage(name="wild", epochs=2, optimizer="sgd", learning_rate=100.0, unfreeze="all")
    model.set_trainable(net, stage)
    net.get_layer("logits").kernel.assign(net.get_layer("logits").kernel * np.float32("nan"))
    examples = fitting.Examples(images(), one_hot(), np.arange(16))
    with pytest.raises(RunError, match="wild: the loss is not a number"):
        fitting.fit(
            net, stage, fitting.State(), examples, examples,
            seed=0, checkpoint=tmp_path / "state.npz", watch=progress.SILENT,
        )  # fmt: skip


def test_moving_average_of_weights_is_kept(net: Any, tmp_path: Path) -> None:
    from tledge import model, progress

    stage = tables.Stage(name="ema", epochs=3, ema=0.9, learning_rate=0.05, restore_best=False)
    model.set_trainable(net, stage)
    before = net.get_layer("logits").kernel.numpy()
    state = fitting.State()
    examples = fitting.Examples(images(), one_hot(), np.arange(16))
    fitting.fit(
        net, stage, state, examples, examples,
        seed=0, checkpoint=tmp_path / "state.npz", watch=progress.SILENT,
    )  # fmt: skip
    after = net.get_layer("logits").kernel.numpy()
    assert state.epoch == 3 and not np.array_equal(before, after) and np.isfinite(after).all()


def test_views_are_drawn_once_in_turns(tmp_path: Path) -> None:
    from dataclasses import replace

    from tledge import progress, recipe
    from tledge.train import _with_views

    text = '[data]\nsource = "drawn"\n[model]\nbackbone = "tiny"\nweights = "none"\n[[stage]]\n'
    made = recipe.parse(text, "views.toml")
    made = replace(made, augment=tables.Augment(flip="horizontal", rotation=0.2, views=2))
    plain = fitting.Examples(images(), one_hot(), np.arange(4, 12))
    first, again = (
        _with_views(plain, made, tmp_path / name / "views.npy", progress.SILENT) for name in ("a", "b")
    )
    assert first.views is not None and first.views.shape == (2, 8, 32, 32, 3)
    assert np.array_equal(first.views, again.views)
    taken = [first.take(np.arange(8), epoch) for epoch in range(3)]
    assert np.array_equal(taken[0], taken[2]) and not np.array_equal(taken[0], taken[1])


def test_views_of_nothing_are_refused() -> None:
    from tledge import recipe

    text = '[data]\nsource = "drawn"\n[model]\nbackbone = "tiny"\nweights = "none"\n[[stage]]\n'
    with pytest.raises(RecipeError, match="nothing to draw"):
        recipe.parse(text, "views.toml", ["augment.views=3"])
