"""Models of Keras 2 and 3, rebuilt: the probabilities of the framework that made them, to 1e-5."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers import keras2_models
from tests.helpers.paths import ROOT
from tledge.adoption.worker import Adopter
from tledge.errors import ArtifactError
from tledge.models import classifier
from tledge.preprocessing.scaling import AROUND_ZERO, BYTES, CAFFE, Scaling

SIDE = keras2_models.SIDE
IMAGES = keras2_models.images()


def require_same(path: Path, scaling: Scaling, expected: np.ndarray, out: Path) -> Adopter:
    """Adopt a model; compare what the saved one predicts for bytes with what is expected."""
    adopter = Adopter(path, 0)
    adopter.save(scaling, out)
    saved = classifier.load(out)
    probabilities = np.asarray(saved.predict_on_batch(IMAGES.astype(np.float32)))
    assert np.ptp(expected, axis=0).max() > 0.02, "the model predicts the same for all images"
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    return adopter


@pytest.fixture(scope="module")
def keras2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that Keras 2 wrote, in a process of its own: both Keras in one would disturb each other."""
    pytest.importorskip("tf_keras", reason="Keras 2 is not installed")
    folder = tmp_path_factory.mktemp("keras2")
    command = [sys.executable, "-m", "tests.helpers.keras2_models", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("name", "scaling"),
    [("teachable.h5", AROUND_ZERO), ("operations.h5", BYTES), ("sequence.h5", BYTES), ("saved_model", BYTES)],
)
def test_keras_2_predicts_the_same(keras2: Path, tmp_path: Path, name: str, scaling: Scaling) -> None:
    adopter = require_same(keras2 / name, scaling, np.load(keras2 / f"{name}.npy"), tmp_path / "model.keras")
    assert (adopter.facts.size, adopter.facts.classes) == ((SIDE, SIDE), 3)


def network(*front: Any, end: Any = None) -> Any:
    """A small network of Keras 3, with random weights that make outputs differ."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    image = keras.Input((SIDE, SIDE, 3))
    x = image
    for step in front:
        x = step(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="dw")(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, (end or layers.Dense(3, "softmax"))(x), name="mine")
    model.set_weights([3 * weights for weights in model.get_weights()])
    return model


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def cases() -> dict[str, tuple[Any, Scaling, Any]]:
    """A network, the scaling outside of it, and what its outputs mean, by what is special."""
    import keras
    from keras import layers

    def plain(outputs: np.ndarray) -> np.ndarray:
        return outputs

    def both(outputs: np.ndarray) -> np.ndarray:
        return np.concatenate([1 - outputs, outputs], 1)

    rescaling = layers.Rescaling(1 / 127.5, -1)
    return {
        "own layer": (network(rescaling), BYTES, plain),
        "outside": (network(), AROUND_ZERO, plain),
        "BGR outside": (network(), CAFFE, plain),
        "BGR inside": (network(keras.applications.vgg16.preprocess_input), BYTES, plain),
        "logits": (network(layers.Rescaling(1 / 255), end=layers.Dense(3)), BYTES, softmax),
        "flip inside": (network(layers.RandomFlip(), rescaling, layers.GaussianNoise(1.0)), BYTES, plain),
        "sigmoid": (network(layers.Rescaling(1 / 255), end=layers.Dense(1, "sigmoid")), BYTES, both),
    }


@pytest.mark.parametrize(
    "name", ["own layer", "outside", "BGR outside", "BGR inside", "logits", "flip inside", "sigmoid"]
)
def test_keras_3_predicts_the_same(tmp_path: Path, name: str) -> None:
    model, scaling, meaning = cases()[name]
    expected = meaning(np.asarray(model(scaling.apply(IMAGES), training=False)))
    model.save(tmp_path / "m.keras")
    adopter = require_same(tmp_path / "m.keras", scaling, expected, tmp_path / "model.keras")
    assert adopter.facts.has_preprocessing == (scaling is BYTES)
    assert ("RandomFlip" in adopter.facts.removed) == (name == "flip inside")


def test_groups_of_a_depthwise_layer_are_left_out(tmp_path: Path) -> None:
    """Teachable Machine's files have them, and Keras 3 refuses them."""
    model = network()
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            layer["config"].update({"groups": 1} if layer["class_name"] == "DepthwiseConv2D" else {})
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.4.0"
    expected = np.asarray(model(AROUND_ZERO.apply(IMAGES), training=False))
    adopter = require_same(tmp_path / "m.h5", AROUND_ZERO, expected, tmp_path / "model.keras")
    assert (adopter.facts.framework, adopter.facts.version) == ("Keras 2", "2.4.0")


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    from keras import layers

    for end, words in (
        (layers.Dense(3, "sigmoid"), "3 sigmoid units: several labels"),
        (layers.Dense(3, "relu"), "activation 'relu', whose values are no probabilities"),
        (layers.Lambda(lambda x: x, name="code"), "'code' is a Lambda: Python code"),
    ):
        network(end=end).save(tmp_path / "m.keras")
        with pytest.raises(ArtifactError, match=words):
            Adopter(tmp_path / "m.keras", 0)
