"""Every recipe of the field trains and exports: on a made-up slice of its data, at a small size.

The backbones start from random weights with batch-norm statistics that fit the photos, so that
answers differ from photo to photo and a comparison can fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_data import photos, tfds_set, tfrecords
from tests.helpers.fake_models import calibrate, feature_vector
from tledge._io import resources
from tledge.config import Stage
from tledge.conversion.export import export
from tledge.recipe import loader
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow
from tledge.verification.verify import verify_run

pytestmark = pytest.mark.slow(minutes=2)


@dataclass(frozen=True)
class Slice:
    """What a recipe runs on in this test: photos per split, the number of labels, the input size."""

    splits: dict[str, int]
    labels: int
    size: int
    int8: bool = False


SLICES = {
    "rps_xception": Slice({"train": 40, "test": 30}, 3, 71),
    "beans_xception": Slice({"train": 36, "validation": 12, "test": 30}, 3, 71),
    "beans_inception": Slice({"train": 36, "validation": 12, "test": 30}, 3, 75),
    "dogs_mobilenetv2": Slice({"train": 48, "test": 48}, 8, 64, int8=True),
    "flowers_tfrecord_xception": Slice({"train": 96}, 5, 71),
    "flowers_hub_mobilenet": Slice({"train": 160}, 5, 64, int8=True),
    "flowers_hub_inception": Slice({"train": 120}, 5, 64, int8=True),
    "cats_dogs": Slice({"train": 40, "validation": 120}, 2, 64, int8=True),
    "pets_resnet50v2": Slice({"train": 80, "test": 40}, 6, 64),
}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], list[str]]:
    """Settings that put a calibrated random backbone (or feature vector) into a recipe."""
    folder = tmp_path_factory.mktemp("backbones")

    def settings(backbone: str, size: int) -> list[str]:
        path = folder / f"{backbone.partition(':')[0]}-{size}.weights.h5"
        if backbone.startswith("hub:"):
            vector = folder / f"vector-{size}"
            if not vector.exists():
                feature_vector(vector, size=size, features=24)
            return [f"model.backbone=hub:{vector}"]
        if not path.exists():
            save_calibrated(backbone, size, path)
        return [f"model.weights={path}"]

    return settings


def save_calibrated(backbone: str, size: int, path: Path) -> None:
    import keras

    from tledge.config import Model
    from tledge.models import classifier

    keras.utils.set_random_seed(1)
    net = classifier.build(Model(backbone, weights="none", image_size=size), 2)
    calibrate(net, np.random.default_rng(0).uniform(0, 255, (16, size, size, 3)).astype(np.float32))
    keras.Model(net.get_layer("scale").output, net.get_layer(classifier.POOL).input).save_weights(path)


def source(name: str, part: Slice, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write the slice of data; gives settings that point the recipe at it."""
    kind, _, argument = loader.load(resources.recipes()[name]).data.source.partition(":")
    if kind == "tfds":
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
        make_tfds(folder, argument, part)
        return []
    if kind == "folder":
        photos(folder, part.splits, ("cat", "dog")[: part.labels])
        return [f"data.source=folder:{folder}"]
    made = loader.load(resources.recipes()[name]).data.labels
    files = {f"flowers{number:02d}": part.splits["train"] // 16 for number in range(16)}
    return [f"data.source=tfrecord:{tfrecords(folder, files, made)}"]


def make_tfds(folder: Path, name: str, part: Slice) -> None:
    from tests.helpers.fake_data import TFDS_SETS

    names = {"rock_paper_scissors": ("3.0.0", ()), **TFDS_SETS}
    version = names[name][0]
    tfds_set(folder, name, version, part.splits, LABELS.get(name, ()))


LABELS = {
    "oxford_iiit_pet": ("Abyssinian", "beagle", "Bengal", "boxer", "pug", "Sphynx"),
    "stanford_dogs": tuple(f"n0208{number}-dog_{number}" for number in range(8)),
}


def gentle(stage: Stage) -> float:
    """A rate that random weights bear, under batch norm that stands still; never above the recipe's."""
    return min(stage.learning_rate, 1e-3 if stage.unfreeze == "none" else 1e-5)


def hub_moved(run: Path, setting: str) -> bool:
    """Whether training changed the feature vector's own kernels; its statistics must not move."""
    import keras

    from tledge.models import classifier, saved_model_layer

    handle = setting.partition("hub:")[2]
    inputs = keras.Input(tuple(classifier.load(run / "model.keras").input_shape[1:]))
    fresh = keras.Model(inputs, saved_model_layer.build(handle, inputs)).layers[-1]
    trained = classifier.load(run / "model.keras").get_layer("features")
    same = [np.array_equal(a, b) for a, b in zip(fresh.get_weights(), trained.get_weights(), strict=True)]
    moving = [not one.trainable for one in fresh.weights]
    assert all(kept for kept, still in zip(same, moving, strict=True) if still)
    return not all(same)


@pytest.mark.parametrize("name", SLICES)
def test_recipe_trains_and_exports(
    name: str, backbones: Callable[[str, int], list[str]], cli: Cli, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    part = SLICES[name]
    loaded = loader.load(resources.recipes()[name])
    monkeypatch.chdir(tmp_path)
    asked = [
        *source(name, part, tmp_path / "data", monkeypatch),
        *backbones(loaded.model.backbone, part.size),
        f"model.image_size={part.size}",
        'export.variants=["tflite-fp32"]',
        'data.on_missing_label="continue"',  # too few photos for validation of each label
        *(f"stage.{number}.epochs=1" for number in range(len(loaded.stage))),
        *(f"stage.{number}.batch_size=8" for number in range(len(loaded.stage))),
        *(f"stage.{number}.learning_rate={gentle(stage)}" for number, stage in enumerate(loaded.stage)),
    ]
    done = cli("train", name, "--quiet", *(word for one in asked for word in ("--set", one)))
    assert done.code == 0, done.err
    run = tmp_path / "runs" / name
    facts = json.loads((run / "run.json").read_text())
    counts = json.loads((run / "evidence" / "photos.json").read_text())["counts"]["train"]
    assert list(counts) == facts["labels"]  # also those of TensorFlow Datasets that no photo has
    assert sum(count > 0 for count in counts.values()) == part.labels
    assert (facts["test"]["top5"] is not None) == (part.labels > 5)
    answers = golden_set.load(run / "golden.npz").probabilities
    assert np.ptp(answers, axis=0).max() > 1e-3

    if loaded.model.backbone.startswith("hub:"):
        trained = [stage.unfreeze for stage in loaded.stage] != ["none"]
        assert hub_moved(run, backbones(loaded.model.backbone, part.size)[0]) == trained

    rows = converted(run, ["tflite-fp32", *(["tflite-int8"] if part.int8 else [])])
    assert rows["tflite-fp32"].verdict == "passed", rows
    assert rows["tflite-fp32"].agreement == 1
    if part.int8:
        assert not rows["tflite-int8"].structural, rows["tflite-int8"].reasons
        assert rows["tflite-int8"].max_abs_dp < 0.5


def converted(path: Path, variants: list[str]) -> dict[str, ParityRow]:
    """Convert a run and verify the artifacts, by variant; a bundle of large networks would take longer."""
    folder = RunFolder(path)
    recipe = loader.load(folder.recipe)
    export(folder, recipe, variants)
    return {row.variant: row for row in verify_run(folder, recipe.parity).rows}
