"""Building, freezing, augmenting and correcting the Keras model, on a small network; one logit."""

import errno
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_models import images, small_net
from tledge import config
from tledge.errors import MissingError, RecipeError, ResourceError
from tledge.progress import SILENT
from tledge.training import batches, checkpoint, optimizer
from tledge.training import stage as training_stage


@pytest.fixture
def net() -> Any:
    return small_net()


def one_hot(count: int = 16) -> Any:
    return np.eye(3, dtype=np.float32)[np.arange(count) % 3]


def test_probabilities_from_bytes(net: Any) -> None:
    found = net.predict(images().astype(np.float32), verbose=0)
    assert found.shape == (16, 3)
    assert np.allclose(found.sum(1), 1, atol=1e-5) and np.ptp(found, axis=0).max() > 0


def test_frozen_base_keeps_head_trainable(net: Any) -> None:
    from tledge.models import classifier

    classifier.set_trainable(net, config.Stage(unfreeze="none"))
    assert [one.path for one in net.trainable_variables] == ["logits/kernel", "logits/bias"]


def test_unfreeze_from_layer_name(net: Any) -> None:
    from tledge.models import classifier

    classifier.set_trainable(net, config.Stage(unfreeze="block_5_conv", batch_norm="inference"))
    assert [one.path for one in net.trainable_variables] == [
        "block_5_conv/kernel",
        "logits/kernel",
        "logits/bias",
    ]


def test_unfreeze_counts_from_top(net: Any) -> None:
    from tledge.models import classifier

    names = [layer.name for layer in net.layers]
    frozen = classifier.set_trainable(net, config.Stage(unfreeze=3, batch_norm="train"))
    assert frozen == names.index("pool") - 3
    assert net.layers[frozen].trainable and not net.layers[frozen - 1].trainable


def test_unknown_layer_names_nearest(net: Any) -> None:
    from tledge.models import classifier

    with pytest.raises(RecipeError, match="block_3_conv"):
        classifier.set_trainable(net, config.Stage(unfreeze="block_3_convv"))


def test_missing_weights_file_is_named(tmp_path: Path) -> None:
    from tledge.models import classifier

    table = config.Model(backbone="tiny", weights=str(tmp_path / "none.h5"), image_size=32)
    with pytest.raises(MissingError, match=r"none\.h5"):
        classifier.build(table, 3)


@pytest.mark.parametrize(("mode", "moves"), [("inference", False), ("train", True)])
def test_batch_norm_statistics(net: Any, mode: str, moves: bool) -> None:
    """Keras updates statistics of any trainable batch norm in `fit`; "inference" must not."""
    from tledge.models import classifier

    classifier.set_trainable(net, config.Stage(unfreeze="all", batch_norm=mode, batch_norm_momentum=0.9))
    before = net.get_layer("stem_conv_BN").moving_mean.numpy()
    net.compile("sgd", "categorical_crossentropy")
    net.fit(images().astype(np.float32), one_hot(), verbose=0)
    after = net.get_layer("stem_conv_BN").moving_mean.numpy()
    assert np.array_equal(before, after) is not moves
    assert net.get_layer("stem_conv_BN").momentum == 0.9


def test_saved_model_repeats_bytes(net: Any, tmp_path: Path) -> None:
    from tledge.models import classifier

    classifier.save(net, tmp_path / "one.keras")
    classifier.save(net, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    again = classifier.load(tmp_path / "one.keras")
    assert all(np.array_equal(a, b) for a, b in zip(net.get_weights(), again.get_weights(), strict=True))


PAIR = config.Model(backbone="tiny", weights="none", image_size=32, loss="binary")


@pytest.fixture
def pair() -> Any:
    """A model of two classes that ends in one logit."""
    import keras

    from tledge.models import classifier

    keras.utils.set_random_seed(0)
    return classifier.build(PAIR, 2)


def logits(net: Any, batch: Any) -> Any:
    import keras

    return keras.Model(net.input, net.get_layer("logits").output).predict(batch, verbose=0)


def fit(net: Any, stage: config.Stage, labels: Any, folder: Path) -> checkpoint.State:
    from tledge.models import classifier

    classifier.set_trainable(net, stage)
    state, examples = checkpoint.State(), batches.Examples(images(), labels, np.arange(16))
    training_stage.fit(
        net, stage, state, examples, examples,
        seed=0, checkpoint=folder / "state.npz", progress=SILENT,
    )  # fmt: skip
    return state


@pytest.mark.parametrize("largest", [1.0, 30.0])
def test_pair_is_sigmoid_of_one_logit(pair: Any, largest: float) -> None:
    layer, batch = pair.get_layer("logits"), images().astype(np.float32)
    layer.bias.assign([-np.median(logits(pair, batch))])
    spread = np.abs(logits(pair, batch)).max()
    layer.set_weights([weight * (largest / spread) for weight in layer.get_weights()])
    z = logits(pair, batch).astype(np.float64)
    assert z.shape == (16, 1) and np.ptp(z) > largest
    p = 1 / (1 + np.exp(-z))
    assert np.allclose(pair.predict(batch, verbose=0), np.hstack([1 - p, p]), atol=1e-6)


def test_pair_is_for_two_classes() -> None:
    from tledge.models import classifier

    for classes in (1, 3):
        with pytest.raises(RecipeError, match=f"for two classes, the photos have {classes}"):
            classifier.build(PAIR, classes)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_pair_loss_is_cross_entropy_of_p(pair: Any, smoothing: float) -> None:
    """In a compiled model: Keras' losses reach past a softmax for what went into it."""
    pair.get_layer("logits").bias.assign([3.0])
    labels, batch = one_hot()[:, :2], images().astype(np.float32)
    labels[:, 0] = 1 - labels[:, 1]
    p, soft = pair.predict(batch, verbose=0)[:, 1], labels[:, 1] * (1 - smoothing) + smoothing / 2
    wanted = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    pair.compile(loss=optimizer.loss(config.Stage(label_smoothing=smoothing)))
    assert pair.evaluate(batch, labels, verbose=0) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("unfreeze", ["none", "all", 4, "block_5_conv"])
def test_pair_never_trains(pair: Any, unfreeze: str | int, tmp_path: Path) -> None:
    stage = config.Stage(epochs=1, unfreeze=unfreeze, weight_decay=0.1, learning_rate=0.1)
    before = pair.get_layer("logits").kernel.numpy()
    fit(pair, stage, one_hot()[:, :2], tmp_path)
    assert pair.get_layer("pair").kernel.numpy().tolist() == [[-0.5, 0.5]]
    assert not np.array_equal(pair.get_layer("logits").kernel.numpy(), before)
    assert not any("pair" in one.path for one in pair.trainable_variables)


def test_pair_learns_the_second_label(pair: Any, tmp_path: Path) -> None:
    """Labels the right way round: all photos are of class 1, and its probability rises."""
    labels = np.tile(np.float32([0, 1]), (16, 1))
    batch = images().astype(np.float32)
    before = pair.predict(batch, verbose=0)[:, 1].mean()
    state = fit(pair, config.Stage(epochs=4, learning_rate=1.0), labels, tmp_path)
    answers = pair.predict(batch, verbose=0)
    assert answers[:, 1].mean() > max(before, 0.9)
    best = state.history[state.best_epoch - 1]
    assert best["val_loss"] == pytest.approx(-np.log(answers[:, 1]).mean(), rel=1e-3)
    assert best["val_accuracy"] == 1


def test_pair_is_saved(pair: Any, tmp_path: Path) -> None:
    from tledge.models import classifier

    classifier.save(pair, tmp_path / "pair.keras")
    again = classifier.load(tmp_path / "pair.keras")
    batch = images().astype(np.float32)
    assert np.array_equal(pair.predict(batch, verbose=0), again.predict(batch, verbose=0))
    classifier.set_trainable(again, config.Stage(unfreeze="all", batch_norm="train"))
    assert not again.get_layer("pair").trainable


@pytest.mark.parametrize("unfreeze", ["none", "all"])
def test_head_batch_norm_moves_alone(unfreeze: str, tmp_path: Path) -> None:
    """The backbone's batch norm keeps its statistics, that of the head learns its own."""
    from tledge.models import classifier

    table = config.Model("tiny", weights="none", image_size=32, head=(8,), head_batch_norm=True)
    net = classifier.build(table, 2)
    names = [layer.name for layer in net.layers]
    assert names[names.index("pool") :] == [
        "pool", "head_BN", "hidden_1", "dropout", "logits", "probabilities",
    ]  # fmt: skip
    norms = [layer for layer in net.layers if type(layer).__name__ == "BatchNormalization"]
    before = [[weight.copy() for weight in layer.get_weights()] for layer in norms]
    fit(net, config.Stage(epochs=1, unfreeze=unfreeze), one_hot()[:, :2], tmp_path)
    moved = {
        layer.name: [not np.array_equal(a, b) for a, b in zip(old, layer.get_weights(), strict=True)]
        for layer, old in zip(norms, before, strict=True)
    }
    assert all(moved.pop("head_BN")) and len(moved) == 11
    assert not any(map(any, moved.values()))


def test_failed_saving_leaves_nothing(net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras closes the weights first, and forgets its scratch where the disk is full by then."""
    from tledge.models import classifier

    def full(_self: Any, name: str, *_given: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, f"No space left on device: {name}")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ResourceError, match="the disk is full"):
        classifier.save(net, tmp_path / "runs" / "net.keras")
    assert tempfile.gettempdir() == str(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]
