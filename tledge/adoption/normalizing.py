"""Bring a flat Keras model to tledge's contract: bytes of a photo in, probabilities of the classes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tledge.adoption import affine, saved_models
from tledge.adoption.affine import IN_BGR, IN_RGB, Affine
from tledge.adoption.flattening import apply_clones
from tledge.contract import INPUT_NAME, OUTPUT_NAME
from tledge.errors import ArtifactError
from tledge.models import keras_file
from tledge.models.classifier import PAIR
from tledge.preprocessing.scaling import LUMA

_PREPROCESSING = (
    "Absolute Activation Add Cast Concatenate Divide ExpandDims Flip GetItem Identity Multiply Negative "
    "Normalization Rescaling Reshape Stack Subtract TrueDivide"
)
PREPROCESSING = frozenset(_PREPROCESSING.split())
"""Layers and operations that, in front of all others, scale a photo."""

SCALE, TO_BGR, TO_GREY = "scale", "to_bgr", "to_grey"
"""Names of the layers that are put in front."""


@dataclass(frozen=True)
class Parts:
    """A flat model taken apart: its own preprocessing, the rest, and what its outputs are.

    `own` is None where the layers in front are no scaling of each channel, and stay in the rest; `has_own`
    tells whether there were any. `ending` is "softmax", "logits", "sigmoid" or "logit", and `last` the layer
    or operation with that activation, "" where there is none that can be left out.
    """

    rest: Any
    own: Affine
    has_own: bool
    ending: str
    last: str


def take_apart(flat: Any) -> Parts:
    """Return the parts of a flat functional model.

    Raises:
        ArtifactError: its outputs are no probabilities of classes, nor logits.
    """
    frontier, count = _end_of_preprocessing(flat)
    own = _measure(flat, frontier) if count else None
    start = flat.inputs[0] if own is None else frontier
    ending, last = _ending(flat)
    return Parts(_part(flat, start), own or Affine(), own is not None, ending, last)


def _nodes(flat: Any) -> list[Any]:
    """Return the nodes of a model in the order of computing, without its input."""
    by_depth = flat._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def _end_of_preprocessing(flat: Any) -> tuple[Any, int]:
    """Return the tensor behind the layers that only scale the photo, and how many these are."""
    seen = {id(flat.inputs[0])}
    for count, node in enumerate(_nodes(flat)):
        inputs = node.input_tensors
        if any(id(tensor) not in seen for tensor in inputs):
            return flat.inputs[0], 0  # it branches: layers behind use what comes before
        if type(node.operation).__name__ not in PREPROCESSING or _is_activation(node.operation):
            is_single = len(inputs) == 1 and tuple(inputs[0].shape) == tuple(flat.inputs[0].shape)
            return (inputs[0], count) if is_single else (flat.inputs[0], 0)
        seen |= {id(tensor) for tensor in node.outputs}
    return flat.inputs[0], 0


def _is_activation(operation: Any) -> bool:
    name = getattr(getattr(operation, "activation", None), "__name__", "linear")
    return name != "linear"


def _measure(flat: Any, frontier: Any) -> Affine | None:
    import keras

    if flat.inputs[0].shape[-1] != 3:
        return None
    front = keras.Model(flat.inputs[0], frontier)
    size = flat.inputs[0].shape[1:3]
    return affine.measure(lambda images: front(images, training=False), (int(size[0]), int(size[1])))


def _part(flat: Any, start: Any) -> Any:
    import keras

    return keras.Model(start, flat.outputs[0])


def _ending(flat: Any) -> tuple[str, str]:
    """Return what the outputs are, and the layer or operation with their activation."""
    output = flat.outputs[0]
    if len(output.shape) != 2:
        raise ArtifactError(
            f"the model's output has the shape {list(output.shape)}; expected a probability for each class: "
            "[None, classes]. Take the whole classifier, not its backbone."
        )
    activation, last = _last_activation(flat)
    return _kind(activation, int(output.shape[-1])), last


def _last_activation(flat: Any) -> tuple[str, str]:
    """Return the name of the activation that the outputs come from, and of its layer or operation."""
    tensor = flat.outputs[0]
    while True:
        node = next(node for node in _nodes(flat) if any(tensor is output for output in node.outputs))
        operation, kind = node.operation, type(node.operation).__name__
        if kind == keras_file.OWN_LAYER:
            return saved_models.last_activation(operation), ""
        if kind in ("Softmax", "Sigmoid", "Relu", "Tanh", "ReLU"):
            return kind.lower(), operation.name
        name = getattr(getattr(operation, "activation", None), "__name__", "linear")
        is_passing = kind in ("Identity", "Reshape", "Flatten", "Activation", "Squeeze")
        if name != "linear" or not is_passing or node.input_tensors[0] is flat.inputs[0]:
            return str(name), operation.name if name != "linear" else ""
        tensor = node.input_tensors[0]


def _kind(activation: str, classes: int) -> str:
    if activation == "softmax":
        if classes == 1:
            raise ArtifactError(
                "the model ends in a softmax of a single unit, which is always 1. Train it again."
            )
        return "softmax"
    if activation == "sigmoid" and classes > 1:
        raise ArtifactError(
            f"the model ends in {classes} sigmoid units: several labels may be right at once, and the "
            "outputs do not sum to 1. tledge takes classifiers of one label for each photo; end in a softmax."
        )
    endings = {"sigmoid": "sigmoid", "linear": "logits" if classes > 1 else "logit"}
    if activation not in endings:
        raise ArtifactError(
            f"the model ends in the activation {activation!r}, whose values are no probabilities. "
            "Expected a softmax, a sigmoid of one unit, or logits without activation."
        )
    return endings[activation]


def assemble(parts: Parts, total: Affine, size: tuple[int, int], name: str) -> Any:
    """Return the whole model: RGB bytes as float32[N, *size, 3] → probabilities float32[N, classes].

    Args:
        parts: What `take_apart` returned.
        total: How bytes become what the rest takes.
        size: Height and width.
        name: Name of the model.
    """
    import keras

    image = keras.Input((*size, 3), dtype="float32", name=INPUT_NAME)
    turned = total.order == IN_BGR and _first_convolution(parts.rest)
    scaled = _scaled(image, total, is_turned=bool(turned), channels=int(parts.rest.inputs[0].shape[-1]))
    with_head = keras.Model(
        image, _probabilities(parts, apply_clones(parts.rest, scaled, parts.last)), name=name
    )
    if turned:
        layer = with_head.get_layer(turned)
        kernel, *others = layer.get_weights()
        layer.set_weights([kernel[:, :, ::-1, :], *others])
    return with_head


def _scaled(image: Any, total: Affine, *, is_turned: bool, channels: int) -> Any:
    """Scale the photo with the fewest layers: a Rescaling, and a convolution 1x1 where channels move."""
    from keras import layers

    scale, offset = total.scale, total.offset
    if is_turned:  # the first kernel takes RGB, each colour with its own figures
        scale, offset = scale[::-1], offset[::-1]
    if channels == 1:
        image = _mixed(image, [[weight] for weight in LUMA], TO_GREY)
        scale, offset = scale[:1], offset[:1]
    elif total.order != IN_RGB and not is_turned:
        columns = [[float(row == source) for source in total.order] for row in range(3)]
        image = _mixed(image, columns, TO_BGR)
    if set(scale) == {1.0} and set(offset) == {0.0}:
        return image
    values = (_plain(scale), _plain(offset))
    return layers.Rescaling(*values, dtype="float32", name=SCALE)(image)


def _mixed(image: Any, matrix: list[list[float]], name: str) -> Any:
    import numpy as np
    from keras import layers

    layer = layers.Conv2D(len(matrix[0]), 1, use_bias=False, trainable=False, dtype="float32", name=name)
    mixed = layer(image)
    layer.set_weights([np.array(matrix, np.float32)[None, None]])
    return mixed


def _plain(values: tuple[float, ...]) -> float | list[float]:
    return values[0] if len(set(values)) == 1 else list(values)


def _first_convolution(rest: Any) -> str:
    """Return the name of the convolution that alone takes the scaled photo; "" where none does."""
    consumers = [node for node in _nodes(rest) if any(t is rest.inputs[0] for t in node.input_tensors)]
    while len(consumers) == 1 and type(consumers[0].operation).__name__ == "ZeroPadding2D":
        padded = consumers[0].outputs[0]
        consumers = [node for node in _nodes(rest) if any(t is padded for t in node.input_tensors)]
    if len(consumers) != 1 or type(consumers[0].operation).__name__ != "Conv2D":
        return ""
    return str(consumers[0].operation.name) if consumers[0].operation.groups == 1 else ""


def _probabilities(parts: Parts, outputs: Any) -> Any:
    """Return probabilities of all classes, from what the model ends in."""
    from keras import layers

    if parts.ending == "softmax" and not parts.last:
        return outputs
    if parts.ending == "sigmoid" and not parts.last:
        return _with_complement(outputs)
    if parts.ending in ("sigmoid", "logit"):
        pair = layers.Dense(2, use_bias=False, trainable=False, dtype="float32", name=PAIR)
        outputs = pair(outputs)
        pair.kernel.assign([[-0.5, 0.5]])
    return layers.Softmax(dtype="float32", name=OUTPUT_NAME)(outputs)


def _with_complement(probability: Any) -> Any:
    """Return the probabilities of two classes from that of the second one."""
    import numpy as np
    from keras import layers

    pair = layers.Dense(2, trainable=False, dtype="float32", name=PAIR)
    outputs = pair(probability)
    pair.set_weights([np.array([[-1.0, 1.0]], np.float32), np.array([1.0, 0.0], np.float32)])
    return outputs
