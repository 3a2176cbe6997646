"""Open somebody else's SavedModel as a Keras model of one layer, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.models import graph_judgement, saved_model_judgement, saved_model_layer
from tledge.models.saved_model_layer import SIGNATURES

PASSING = ("Identity", "Reshape", "Squeeze")
"""Operators behind an activation that leave its values as they are."""


def open_model(folder: Path, size: tuple[int, int] | None) -> Any:
    """Return a Keras model whose one layer is the graph of a SavedModel.

    Args:
        folder: The SavedModel's folder.
        size: Height and width of the photos, where the SavedModel takes any.

    Raises:
        ArtifactError: it is damaged, or its graph reads files or runs code.
        RecipeError: it takes no photos, or of any size and none is given.
    """
    import keras

    try:
        height, width, channels = _photo_shape(folder, size)
        image = keras.Input((height, width, channels), dtype="float32", name="photo")
        return keras.Model(image, saved_model_layer.build(str(folder), image), name="saved_model")
    except MissingError as error:
        raise ArtifactError(str(error)) from error


def _photo_shape(folder: Path, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """Return height, width and channels of the photos that a SavedModel takes."""
    import tensorflow as tf

    if not (folder / "saved_model.pb").is_file():
        raise RecipeError(f"{folder}: no SavedModel: it holds no saved_model.pb.")
    saved_model_judgement.require_data(folder, ArtifactError)
    signatures = tf.saved_model.load(str(folder)).signatures
    name = next((name for name in SIGNATURES if name in signatures), None)
    if name is None:
        raise RecipeError(
            f"{folder}: it has none of the signatures {', '.join(SIGNATURES)}. Export the Keras model again: "
            "model.export(FOLDER)"
        )
    inputs = list(signatures[name].structured_input_signature[1].values())
    shape = inputs[0].shape.as_list() if len(inputs) == 1 and inputs[0].shape.rank == 4 else []
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise ArtifactError(
            f"{folder}: its input has the shape {shape}; expected photos [N, height, width, 3]."
        )
    sides = shape[1:3] if all(shape[1:3]) else size
    if sides is None:
        raise RecipeError(
            f"{folder}: it takes photos of any size. Give that of its training: --image-size 224"
        )
    return int(sides[0]), int(sides[1]), int(shape[3])


def last_activation(layer: Any) -> str:
    """Return the activation that the graph in a layer ends in: "softmax", "sigmoid", or "linear"."""
    nodes = {node.name: node for node in graph_judgement.read_graph(layer.get_config()["graph"]).node}
    node = nodes[saved_model_layer.OUTPUT]
    while node.op in PASSING and node.input:
        node = nodes[node.input[0].partition(":")[0]]
    return {"Softmax": "softmax", "Sigmoid": "sigmoid", "Relu": "relu", "Tanh": "tanh"}.get(node.op, "linear")
