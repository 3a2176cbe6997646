"""The frozen front of a network: where it is cut, and that training on it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.fake_models import calibrate
from tledge.config import Model, Stage
from tledge.models import classifier
from tledge.recipe import loader
from tledge.training import frozen_features, pipeline

STAGES = """
[[stage]]
name = "head"
epochs = 2
[[stage]]
name = "top"
epochs = 2
unfreeze = "block_4_depthwise"
"""
RECIPE = """
[data]
source = "drawn"
train = 90
test = 30
size = 48
[data.splits]
validation = {{ from = "train", fraction = 0.2 }}
[model]
backbone = "tiny"
weights = "none"
image_size = 48
[augment]
{augment}
"""


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (1, 10, 32, 32, 3), np.uint8)


@pytest.fixture
def net(images: NDArray[np.uint8]) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    made = classifier.build(Model("mobilenetv2", 0.35, weights="none", image_size=32), 3)
    calibrate(made, images[0].astype(np.float32))
    return made


@pytest.mark.parametrize(
    ("unfreeze", "last"),
    [
        ("none", classifier.POOL),
        ("block_7_expand", "block_6_project_BN"),
        ("block_8_project", "block_7_add"),  # block 8 adds its input: the cut lies before it
    ],
)
def test_cut_lies_before_training(net: Any, unfreeze: str, last: str) -> None:
    classifier.set_trainable(net, Stage(unfreeze=unfreeze))
    found = frozen_features.cut(net)
    assert found is not None and found.front.layers[-1].name == last
    assert not found.front.trainable_weights
    assert len(found.rest.trainable_weights) == len(net.trainable_weights)


@pytest.mark.parametrize("unfreeze", ["none", "block_7_expand", "block_8_project"])
def test_halves_make_the_whole(net: Any, images: NDArray[np.uint8], unfreeze: str) -> None:
    classifier.set_trainable(net, Stage(unfreeze=unfreeze))
    found = frozen_features.cut(net)
    assert found is not None
    batch = images[0].astype(np.float32)
    whole = net.predict_on_batch(batch)
    np.testing.assert_array_equal(found.rest.predict_on_batch(found.front.predict_on_batch(batch)), whole)
    assert np.ptp(whole, axis=0).max() > 0


@pytest.mark.parametrize("unfreeze", ["none", 20, 45, 70])
def test_cut_minds_bare_operations(unfreeze: str | int) -> None:
    """MobileNetV3 adds and multiplies with operations that are no layers."""
    import keras

    keras.utils.set_random_seed(0)
    made = classifier.build(Model("mobilenetv3small", 1.0, weights="none", image_size=32), 3)
    batch = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    calibrate(made, batch)
    classifier.set_trainable(made, Stage(unfreeze=unfreeze))
    found = frozen_features.cut(made)
    assert found is not None and not found.front.trainable_weights
    assert len(found.rest.trainable_weights) == len(made.trainable_weights)
    whole = made.predict_on_batch(batch)
    np.testing.assert_array_equal(found.rest.predict_on_batch(found.front.predict_on_batch(batch)), whole)
    assert np.ptp(whole, axis=0).max() > 0


def test_nothing_frozen_nothing_cut(net: Any) -> None:
    classifier.set_trainable(net, Stage(unfreeze="all"))
    assert frozen_features.cut(net) is None


def test_dropout_is_never_behind_the_cut(net: Any) -> None:
    classifier.set_trainable(net, Stage())
    net.trainable = False
    found = frozen_features.cut(net)
    assert found is not None
    assert "dropout" in [layer.name for layer in found.rest.layers]


def test_key_follows_weights_and_parts(net: Any) -> None:
    classifier.set_trainable(net, Stage())
    found = frozen_features.cut(net)
    assert found is not None
    first = frozen_features.key(found.front, "photos", b"rows")
    assert first == frozen_features.key(found.front, "photos", b"rows")
    assert first != frozen_features.key(found.front, "other photos", b"rows")
    kernel = net.get_layer("Conv1").kernel
    kernel.assign(np.asarray(kernel) * 1.001)
    assert first != frozen_features.key(found.front, "photos", b"rows")


def test_file_is_used_and_checked(net: Any, images: NDArray[np.uint8], tmp_path: Path) -> None:
    classifier.set_trainable(net, Stage())
    found = frozen_features.cut(net)
    assert found is not None
    rows, path = np.array([7, 1, 2]), tmp_path / "features" / "some.npy"
    first = np.array(frozen_features.outputs(found.front, images, rows, path))
    assert first.shape == (1, 3, 1280)
    assert np.array_equal(frozen_features.outputs(None, images, rows, path), first)  # not computed again
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0@")
    assert np.array_equal(
        frozen_features.outputs(found.front, images, rows, path), first
    )  # damaged: made anew


def trained(text: str, out: Path, *settings: str) -> tuple[bytes, list[str]]:
    """Bytes of the model that a recipe trains to, and the losses on the way."""
    pipeline.train(loader.parse(text, "own.toml", settings), text, out, settings=settings)
    lines = (out / "history.csv").read_text().splitlines()
    return (out / "model.keras").read_bytes(), [line.rsplit(",", 1)[0] for line in lines]


@pytest.mark.parametrize("augment", ["", "flip = 'horizontal'\nbrightness = 0.2\nviews = 2"])
def test_cache_changes_no_weight(tmp_path: Path, augment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RECIPE.format(augment=augment) + STAGES
    widths: list[int] = []
    before = frozen_features.outputs

    def spied(front: Any, *rest: Any) -> NDArray[np.float32]:
        widths.append(int(np.prod(front.output_shape[1:])))
        return before(front, *rest)

    monkeypatch.setattr(frozen_features, "outputs", spied)
    cached = trained(text, tmp_path / "cached")
    assert widths == [96, 96, 6 * 6 * 48, 6 * 6 * 48]  # pooled for the head, a map for the top
    plain = trained(text, tmp_path / "plain", "stage.0.reuse_frozen=false", "stage.1.reuse_frozen=false")
    assert len(cached[1]) == 5 and cached[1] == plain[1]
    assert cached[0] == plain[0]
    assert len(widths) == 4


def test_short_batch_is_filled_up(net: Any, images: NDArray[np.uint8]) -> None:
    """And changes no answer, nor is the network traced for it."""
    made = list(classifier.predict_batches(net, [images[0][:4], images[0][4:8], images[0][8:]]))
    assert [len(one) for one in made] == [4, 4, 2]
    np.testing.assert_array_equal(made[2], net.predict_on_batch(images[0][8:].astype(np.float32)))
    fresh = classifier.copy(net)
    shapes: list[int] = []
    ask = fresh.predict_on_batch
    fresh.predict_on_batch = lambda batch: shapes.append(len(batch)) or ask(batch)
    list(classifier.predict_batches(fresh, [images[0][:4], images[0][8:]]))
    assert shapes == [4, 4]


class Counted:
    """A `tledge.progress.Progress` that counts the steps of its tasks, and how often they came."""

    def __init__(self) -> None:
        self.total, self.calls, self.steps = 0, 0, 0

    def start(self, what: str, total: int | None = None) -> Counted:
        self.total += (total or 0) if what == "head" else 0
        self.name = what
        return self

    def advance(self, steps: int = 1, **figures: object) -> None:
        if self.name == "head":
            self.calls, self.steps = self.calls + 1, self.steps + steps

    def finish(self, task: Counted) -> None:
        self.name = ""

    def say(self, line: str) -> None:
        del line


@pytest.mark.parametrize(("at_once", "calls"), [(1, 12), (4, 4)])
def test_steps_at_once_change_no_weight(
    tmp_path: Path, at_once: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six steps an epoch, of which the last four or two come together; the bar hears of each once."""
    monkeypatch.setattr("tledge.training.stage.HEAD_STEPS", at_once)
    text = RECIPE.format(augment="") + '[[stage]]\nname = "head"\nepochs = 2\nbatch_size = 12\n'
    progress = Counted()
    pipeline.train(loader.parse(text, "own.toml"), text, tmp_path / "run", progress=progress)
    assert (progress.steps, progress.total, progress.calls) == (12, 12, calls)
    plain = trained(text, tmp_path / "plain", "stage.0.reuse_frozen=false")
    assert (tmp_path / "run" / "model.keras").read_bytes() == plain[0]


def test_fresh_augmentation_is_not_cached(tmp_path: Path) -> None:
    text = RECIPE.format(augment="brightness = 0.3") + STAGES
    trained(text, tmp_path / "fresh", "data.train=96")
    kept = json.loads((tmp_path / "fresh" / "run.json").read_text())["cache"]
    assert not (Path(kept) / "features").exists()
