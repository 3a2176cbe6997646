"""The recipes of the field: what is built from them equals what their authors describe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_models import feature_vector
from tledge._io import resources
from tledge.models import classifier
from tledge.recipe import definition, loader
from tledge.training import optimizer as training_optimizer


@dataclass(frozen=True)
class Step:
    """What one stage must come to: optimizer, its rate at the first and the 100th step, what it trains."""

    epochs: int
    optimizer: str
    rate: float
    rate_later: float
    trains: str | int
    momentum: float = 0.0
    nesterov: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a recipe must build for so many classes; `head`: layers with weights behind the pooling."""

    backbone: str
    size: int
    classes: int
    dropout: float
    head: tuple[tuple[str, tuple[int, ...]], ...]
    stages: tuple[Step, ...]
    patience: int = 0


def dense(features: int, classes: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return (("Dense", (features, classes)),)


def step(epochs: int, optimizer: str, rate: float, trains: str | int, **more: Any) -> Step:
    return Step(epochs, optimizer, rate, more.pop("later", rate), trains, **more)


WANTED = {
    "rps_xception": Wanted(
        "xception", 224, 3, 0.2, dense(2048, 3), (step(10, "Adam", 1e-5, "all"),)
    ),
    "beans_xception": Wanted(
        "xception", 224, 3, 0.5, dense(2048, 3),
        (
            step(10, "SGD", 0.2, "none", later=0.2 / 2, momentum=0.9),
            step(10, "SGD", 0.01, "all", later=0.01 / 1.1, momentum=0.9, nesterov=True),
        ),
    ),
    "beans_inception": Wanted(
        "inceptionv3", 224, 3, 0.5, dense(2048, 3),
        (step(10, "RMSprop", 0.1, "none"), step(10, "RMSprop", 1e-4, "all")),
    ),
    "dogs_mobilenetv2": Wanted(
        "mobilenetv2", 224, 120, 0.5, dense(1280, 120),
        (step(5, "Adamax", 0.005, "none"), step(3, "Adamax", 1e-5, "all")),
    ),
    "flowers_tfrecord_xception": Wanted(
        "xception", 192, 5, 0.2, dense(2048, 5), (step(5, "Adam", 1e-4, "all"),)
    ),
    "flowers_hub_mobilenet": Wanted("hub", 224, 5, 0.0, dense(24, 5), (step(6, "Adam", 1e-3, "none"),)),
    "flowers_hub_inception": Wanted(
        "hub", 299, 5, 0.0, (("Dense", (24, 512)), ("Dense", (512, 5))),
        (step(5, "Adam", 1e-3, "none"), step(5, "Adam", 1e-5, "all")),
    ),
    "cats_dogs": Wanted(
        "mobilenetv2", 160, 2, 0.2, (("Dense", (1280, 1)), ("Dense", (1, 2))),
        (step(10, "Adam", 1e-4, "none"), step(10, "RMSprop", 1e-5, 100)),
    ),
    "pets_resnet50v2": Wanted(
        "resnet50v2", 224, 37, 0.2, (("BatchNormalization", (2048,)), ("Dense", (2048, 37))),
        (step(30, "Adam", 1e-3, "none"), step(5, "Adam", 1e-5, -15)),
        patience=5,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[definition.Recipe, Any]]:
    """Every recipe's model, built once with random weights (the hub ones on a small stand-in)."""
    vectors = {
        size: feature_vector(tmp_path_factory.mktemp("vector"), size=size, features=24) for size in (224, 299)
    }
    made = {}
    for name, wanted in WANTED.items():
        loaded = loader.load(resources.recipes()[name])
        if wanted.backbone == "hub":
            asked = replace(loaded.model, backbone=f"hub:{vectors[wanted.size]}")
        else:
            asked = replace(loaded.model, weights="none")
        made[name] = (loaded, classifier.build(asked, wanted.classes))
    return made


def head(net: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Kind and first weight's shape of every layer with weights behind the pooling."""
    names = [layer.name for layer in net.layers]
    behind = net.layers[names.index(classifier.POOL) + 1 :]
    return tuple((type(one).__name__, tuple(one.weights[0].shape)) for one in behind if one.count_params())


def bare_kinds(backbone: str, size: int) -> list[str]:
    """Kinds of the layers of Keras' own application, built apart, its input first."""
    import keras

    names = {"xception": "Xception", "inceptionv3": "InceptionV3", "mobilenetv2": "MobileNetV2",
             "resnet50v2": "ResNet50V2"}  # fmt: skip
    build = getattr(keras.applications, names[backbone])
    net = build(weights=None, include_top=False, input_shape=(size, size, 3))
    return [type(layer).__name__ for layer in net.layers]


@pytest.mark.parametrize("name", WANTED)
def test_head_is_as_described(built: dict[str, Any], name: str) -> None:
    loaded, net = built[name]
    wanted = WANTED[name]
    assert net.input_shape == (None, wanted.size, wanted.size, 3)
    assert net.output_shape == (None, wanted.classes)
    assert head(net) == wanted.head
    assert net.get_layer("dropout").rate == wanted.dropout
    assert loaded.model.loss == ("binary" if wanted.classes == 2 else "categorical")
    assert [type(one).__name__ for one in net.layers].count("BatchNormalization") >= (
        wanted.backbone != "hub"
    )


@pytest.mark.parametrize("name", ["cats_dogs", "dogs_mobilenetv2"])
def test_loss_is_as_described(built: dict[str, Any], name: str) -> None:
    """Cross-entropy from the logits, written out: binary for one, categorical for many."""
    import keras

    loaded, net = built[name]
    images = np.random.default_rng(1).uniform(0, 255, (4, *net.input_shape[1:])).astype(np.float32)
    classes = np.array([0, 1, 1, 0])
    logits = net.get_layer("logits")
    logits.kernel.assign(np.random.default_rng(2).normal(0, 4, logits.kernel.shape))
    z = np.asarray(keras.Model(net.input, logits.output).predict_on_batch(images), np.float64)
    if z.shape[1] == 1:
        wanted = np.log1p(np.exp(np.where(classes == 1, -z[:, 0], z[:, 0]))).mean()
    else:
        wanted = (np.log(np.exp(z).sum(1)) - z[np.arange(4), classes]).mean()
    net.compile(loss=training_optimizer.loss(loaded.stage[0]))
    found = net.test_on_batch(images, np.eye(net.output_shape[1])[classes])
    assert float(np.ravel(found)[0]) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", WANTED)
def test_stages_are_as_described(built: dict[str, Any], name: str) -> None:
    loaded, _net = built[name]
    assert len(loaded.stage) == len(WANTED[name].stages)
    for stage, wanted in zip(loaded.stage, WANTED[name].stages, strict=True):
        made = training_optimizer.optimizer(stage, steps=1000)
        made.build([])
        assert (stage.epochs, type(made).__name__) == (wanted.epochs, wanted.optimizer)
        assert float(np.asarray(made.learning_rate)) == pytest.approx(wanted.rate)
        made.iterations.assign(100)
        assert float(np.asarray(made.learning_rate)) == pytest.approx(wanted.rate_later)
        assert getattr(made, "momentum", 0.0) == pytest.approx(wanted.momentum)
        assert getattr(made, "nesterov", False) == wanted.nesterov
    assert loaded.stage[0].patience == WANTED[name].patience


@pytest.mark.parametrize("name", WANTED)
def test_frozen_layers_are_as_described(built: dict[str, Any], name: str) -> None:
    loaded, net = built[name]
    wanted = WANTED[name]
    for stage, expected in zip(loaded.stage, wanted.stages, strict=True):
        classifier.set_trainable(net, stage)
        trained = {layer.name for layer in net.layers if layer.trainable and layer.trainable_weights}
        inside = trained - {"logits", "hidden_1", "head_BN"}
        assert trained - inside >= {"logits"}
        if wanted.backbone == "hub":
            assert inside == ({"features"} if expected.trains == "all" else set())
        else:
            assert inside == expected_names(net, wanted, expected.trains)


def expected_names(net: Any, wanted: Wanted, trains: str | int) -> set[str]:
    """Names of backbone layers with weights that the stage trains, batch norm never.

    `trains` counts layers of the bare application: none, all, from this one on, or the last ones.
    """
    kinds = bare_kinds(wanted.backbone, wanted.size)
    inside = net.layers[1 : len(kinds) + 1]  # ours has the scaling between input and base
    assert [type(layer).__name__ for layer in inside][1:] == kinds[1:]
    first = {"none": len(kinds), "all": 0}.get(trains, trains) if isinstance(trains, str) else trains
    chosen = inside[first:]
    return {one.name for one in chosen if one.weights and type(one).__name__ != "BatchNormalization"}
