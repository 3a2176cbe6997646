"""Every backbone against Keras' own application: same weights, same photos, same features."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tledge import config
from tledge.errors import RecipeError
from tledge.models.backbones import BACKBONES, split_name

APPLICATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mobilenet": ("MobileNet", "mobilenet", {"alpha": 0.5}),
    "mobilenetv2": ("MobileNetV2", "mobilenet_v2", {"alpha": 0.35}),
    "mobilenetv3small": ("MobileNetV3Small", "", {"alpha": 0.75}),
    "mobilenetv3large": ("MobileNetV3Large", "", {}),
    "efficientnetv2b0": ("EfficientNetV2B0", "", {}),
    "efficientnetv2b1": ("EfficientNetV2B1", "", {}),
    "efficientnetv2b2": ("EfficientNetV2B2", "", {}),
    "efficientnetv2b3": ("EfficientNetV2B3", "", {}),
    "xception": ("Xception", "xception", {}),
    "inceptionv3": ("InceptionV3", "inception_v3", {}),
    "vgg16": ("VGG16", "vgg16", {}),
    "vgg19": ("VGG19", "vgg19", {}),
    "resnet50": ("ResNet50", "resnet50", {}),
    "resnet50v2": ("ResNet50V2", "resnet_v2", {}),
    "densenet121": ("DenseNet121", "densenet", {}),
}
"""Keras' class, the module of its `preprocess_input` (none where the model can scale itself), options."""


def photos(size: int) -> Any:
    """Photos with unlike channels: blue sky, green lawn, noise."""
    made = np.random.default_rng(0).normal(128, 40, (4, size, size, 3))
    made[:2] += (-60, 10, 70)
    return made.clip(0, 255).astype(np.uint8).astype(np.float32)


def keras_own(name: str) -> Any:
    """Keras' application with random weights; one that can scale bytes itself does."""
    import keras

    title, module, options = APPLICATIONS[name]
    size = BACKBONES[name].min_size
    more = options if module else {**options, "include_preprocessing": True}
    shape = {"weights": None, "include_top": False, "input_shape": (size, size, 3)}
    return getattr(keras.applications, title)(**shape, **more)


def keras_says(name: str, known: Any, images: Any) -> Any:
    """Features that Keras' application gives for RGB bytes."""
    import keras

    module = APPLICATIONS[name][1]
    prepare = getattr(keras.applications, module).preprocess_input if module else np.copy
    return answer(known, prepare(images.copy()))


def built(name: str, known: Any, folder: Path) -> Any:
    """Our model with the weights of `known`, through a file where Keras' has the same layers."""
    from tledge.models import classifier

    path = folder / "base.weights.h5"
    known.save_weights(path)
    weights = str(path) if APPLICATIONS[name][1] else "none"
    alpha = APPLICATIONS[name][2].get("alpha", 1.0)
    core = classifier.build(config.Model(name, alpha, weights, image_size=BACKBONES[name].min_size), 3)
    if weights == "none":
        features(core).set_weights(known.get_weights())
    return core


def answer(net: Any, images: Any) -> Any:
    """Called and not predicted: tracing a large graph takes longer than running it once."""
    return net(images, training=False).numpy()


def features(core: Any) -> Any:
    import keras

    return keras.Model(core.input, core.get_layer("pool").input)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_backbone_is_keras_own(name: str, tmp_path: Path) -> None:
    """Same features, and layers in the same order, so that `unfreeze` means what Keras' documents number."""
    import keras

    keras.utils.set_random_seed(1)
    known = keras_own(name)
    core = built(name, known, tmp_path)
    images = photos(BACKBONES[name].min_size)
    wanted, base = keras_says(name, known, images), features(core)
    largest = np.abs(wanted).max()
    assert np.ptp(wanted, axis=0).max() > largest / 1000  # photos are told apart
    assert np.abs(answer(base, images) - wanted).max() < 1e-4 * largest
    for fault in (images[..., ::-1], images / 255, images / 127.5 - 1):
        assert np.abs(answer(base, fault) - wanted).max() > 1e-2 * largest
    names = [layer.name for layer in core.layers]
    assert [*names[:2], *names[-4:]] == ["image", "scale", "pool", "dropout", "logits", "probabilities"]
    ours, theirs = ([unnumbered(layer.name) for layer in one.layers] for one in (core, known))
    assert ours[2:-4] == theirs[-len(ours[2:-4]) :] and len(theirs) <= len(ours[2:-4]) + 3


def unnumbered(name: str) -> str:
    """A name without the counter that Keras adds to those that it makes up."""
    return re.sub(r"^([a-z]+(?:_[a-z]+|2d|_\d?d)*)_\d+$", r"\1", name)


def test_every_row_is_compared() -> None:
    assert set(BACKBONES) - set(APPLICATIONS) == {"hub", "tiny"}
    for name, row in BACKBONES.items():
        assert row.summary and row.build and row.min_size <= row.default_size
        assert row.bgr == (name in ("vgg16", "vgg19", "resnet50"))


def test_scale_by_channel_is_saved(tmp_path: Path) -> None:
    """Means and deviations of ImageNet, red first."""
    import keras

    from tledge.models import classifier

    core = classifier.build(config.Model("efficientnetv2b0", weights="none", image_size=32), 3)
    classifier.save(core, tmp_path / "one.keras")
    for one in (core, classifier.load(tmp_path / "one.keras")):
        scaled = keras.Model(one.input, one.get_layer("scale").output)
        found = answer(scaled, np.full((1, 32, 32, 3), 51, np.float32))[0, 0, 0]
        wanted = (0.2 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
        assert np.allclose(found, wanted, atol=1e-6)


def test_own_weights_are_turned_once(tmp_path: Path) -> None:
    """The first kernel is that of the file with red and blue exchanged, the second is untouched."""
    import keras

    from tledge.models import classifier

    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    base.save_weights(tmp_path / "vgg.weights.h5")
    core = classifier.build(config.Model("vgg16", weights=str(tmp_path / "vgg.weights.h5"), image_size=32), 3)
    first, second = (
        [one.get_layer(name).get_weights()[0] for one in (base, core)]
        for name in ("block1_conv1", "block1_conv2")
    )
    assert np.array_equal(first[0][:, :, ::-1], first[1]) and not np.array_equal(*first)
    assert np.array_equal(*second)


@pytest.mark.parametrize("name", ["xception", "inceptionv3", "vgg16", "mobilenetv2"])
def test_smallest_image_is_keras_own(name: str) -> None:
    from tledge.models import classifier

    with pytest.raises(RecipeError, match="at least"):
        classifier.build(config.Model(name, weights="none", image_size=BACKBONES[name].min_size - 1), 3)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    import keras

    from tledge.models import classifier

    base = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.25)
    base.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(RecipeError, match=r"other\.weights\.h5: not of this backbone"):
        classifier.build(config.Model("tiny", weights=str(tmp_path / "other.weights.h5"), image_size=32), 3)


def test_base_gives_the_same_while_training(tmp_path: Path) -> None:
    """EfficientNet skips blocks at random, with seeds that Keras does not save."""
    import keras

    from tledge.models import classifier

    table = config.Model("efficientnetv2b0", weights="none", image_size=32, dropout=0)
    core = classifier.build(table, 3)
    classifier.set_trainable(core, config.Stage())
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    twice = [np.asarray(core(images, training=training)) for training in (False, True)]
    assert np.array_equal(*twice)
    assert sum(type(layer).__name__ == "Dropout" for layer in core.layers) > 10
    for name in ("one", "two"):
        classifier.save(core, tmp_path / f"{name}.keras")
        keras.utils.set_random_seed(9)
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


@pytest.mark.parametrize("name", ["tiny", "mobilenetv3small"])
def test_second_build_is_the_same(name: str, tmp_path: Path) -> None:
    """Names that Keras numbers through a process must not reach the file, nor `unfreeze`."""
    import keras

    from tledge.models import classifier

    for number in range(2):
        keras.utils.set_random_seed(5)
        core = classifier.build(config.Model(name, weights="none", image_size=32), 3)
        classifier.save(core, tmp_path / f"{number}.keras")
    assert (tmp_path / "0.keras").read_bytes() == (tmp_path / "1.keras").read_bytes()


def test_names_are_split() -> None:
    assert split_name("mobilenetv2") == ("mobilenetv2", "")
    assert split_name("hub:https://example.org/x:y/4") == ("hub", "https://example.org/x:y/4")
