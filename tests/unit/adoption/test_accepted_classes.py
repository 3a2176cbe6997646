"""What a configuration of somebody else may name, and how the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tledge.adoption import accepted_classes
from tledge.errors import ArtifactError


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": list(layers)}}


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "keras.layers", "class_name": "RandomFlip", "config": {}},
        {"module": "keras.src.ops.numpy", "class_name": "GetItem", "config": {}},
        {
            "class_name": "DepthwiseConv2D",
            "config": {"depthwise_initializer": {"class_name": "VarianceScaling"}},
        },
        model(),
    ],
)
def test_plain_layers_are_accepted(layer: dict[str, Any]) -> None:
    accepted_classes.require(model(layer), "m.keras")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            {"class_name": "Lambda", "config": {"name": "scale"}},
            r"'scale' is a Lambda: Python code.*model.export",
        ),
        ({"module": "mine", "class_name": "Block"}, r"'Block' is a class of somebody's own.*model.export"),
        (
            {"module": "keras.layers", "class_name": "Block", "registered_name": "mine>Block"},
            "'Block' is a class of somebody's own",
        ),
        ({"module": "keras.layers", "class_name": "TorchModuleWrapper"}, "tledge does not know"),
        ({"module": "os", "class_name": "Dense"}, "class of somebody's own"),
        ({"module": "keras.src.ops.numpy", "class_name": "Vectorize"}, "tledge does not know"),
        ({"class_name": ["Dense"]}, "no text"),
    ],
)
def test_code_is_refused_by_name(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        accepted_classes.require(model(model(layer)), "m.keras")


@pytest.mark.parametrize("config", [None, [], {}, {"layers": []}])
def test_no_model_is_refused(config: object) -> None:
    with pytest.raises(ArtifactError, match="describes no model"):
        accepted_classes.require(config, "m.keras")
