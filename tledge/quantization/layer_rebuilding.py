"""Rebuild a Keras network from the operators that the TFLite converter makes of it.

A visitor sees every tensor that the converter will hold in 8 bits, and every kernel and constant, and may
replace them. Which tensors these are follows from how the converter fuses layers:

    Keras layers    Conv2D ── BatchNormalization ── ReLU ──●    ● a tensor held in 8 bits
                      │         │                     │
                      │         │ folded: its factor goes into the kernel, its shift into the bias
                      ▼         ▼                     ▼
    one operator    CONV_2D ( kernel, bias, fused activation ) ──●

    Add ── ReLU ──●                       the ReLU is fused into the addition
    Conv2D ──●─┬─ ReLU ──●                a second reader needs the output of Conv2D: nothing is fused
               └─ Add ──●
    Add ──●── BatchNormalization ──       no kernel before it: becomes MUL ──● and ADD ──●
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tledge.errors import RecipeError

LINEAR = ("Conv2D", "DepthwiseConv2D", "Dense")
"""Layers with one kernel."""

RELU = {None: "relu", 6.0: "relu6"}
"""The ReLUs that the converter fuses into the operator before them, by their largest value."""

SAME_SCALE = (
    "ZeroPadding2D",
    "MaxPooling2D",
    "AveragePooling2D",
    "Reshape",
    "Flatten",
    "Identity",
    "Softmax",
)
"""Layers whose 8-bit output has the scale of their input; that of a softmax is always the same."""

OWN_RANGE = ("Add", "Multiply", "Concatenate", "GlobalAveragePooling2D")
"""Layers and bare operations whose output has a range of its own."""


class TensorVisitor(Protocol):
    """What is done with the tensors of a network while it is rebuilt; each method returns a replacement."""

    def activation(self, name: str, tensor: Any) -> Any:
        """Visit a computed tensor that the converter holds in 8 bits."""

    def kernel(self, kernel: Any, kind: str) -> Any:
        """Visit the kernel of a layer of a Keras class, e.g. "Conv2D"."""

    def constant(self, values: Any) -> Any:
        """Visit a constant that a tensor is multiplied with, or that is added to it."""


@dataclass(frozen=True)
class LayerContext:
    """What a layer needs to know to be rebuilt.

    `folded`: it is a batch norm that goes into the kernel before it. `fused`: its output goes into the
    ReLU (or the batch norm) behind it and is no tensor of its own.
    """

    visitor: TensorVisitor
    folded: bool
    fused: bool

    def output(self, name: str, tensor: Any) -> Any:
        """Visit the output of a layer, unless it is fused into the next one."""
        return tensor if self.fused else self.visitor.activation(name, tensor)


def rebuild(network: Any, visitor: TensorVisitor) -> Any:
    """Rebuild a network [N, H, W, 3] → probabilities on the same variables, with every tensor visited."""
    import keras

    folded, fused = _fusion(network)
    entry = keras.Input(network.input_shape[1:], dtype="float32", name=network.input.name)
    image = visitor.activation("input", entry)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        inputs = tuple(image if tensor is entry else tensor for tensor in inputs)
        context = LayerContext(visitor, layer.name in folded, layer.name in fused)
        kind = type(layer).__name__
        if kind in REBUILDERS:
            return REBUILDERS[kind](layer, inputs[0], context)
        is_layer = isinstance(layer, keras.Layer)
        output = layer(*inputs, **options) if is_layer else _call_operation(layer, inputs)
        return output if kind in SAME_SCALE else context.output(layer.name, output)

    return keras.models.clone_model(
        network, input_tensors=entry, clone_function=lambda layer: layer, call_function=call
    )


def require_known(network: Any) -> None:
    """Raise RecipeError for a layer that cannot be rebuilt; the message names it."""
    known = {*REBUILDERS, *SAME_SCALE, *OWN_RANGE, "InputLayer"}
    for layer in network.operations:
        if problem := _problem(layer, known):
            raise RecipeError(
                f"quantize_aware: layer {layer.name} is {problem}, which cannot be trained as integers. "
                "Remove the stage, or choose another backbone."
            )


def _problem(layer: Any, known: set[str]) -> str:
    """Name what about a layer is not supported, "" for nothing."""
    kind, activation = type(layer).__name__, _activation(layer)
    if kind == "ReLU" and _relu(layer) is None:
        return "a ReLU with a slope, a threshold or another limit than 6"
    if kind not in known:
        return kind
    return "" if activation in ACTIVATIONS else f"activation {activation}"


def as_layer(variables_of: Any, compute: Callable[[Any], Any], name: str) -> Any:
    """Make a Keras layer from a function that uses the variables of another layer, or of none."""
    import keras

    class Step(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=name.replace("/", "__"))
            self.holder = variables_of

        def call(self, inputs: Any) -> Any:
            return compute(inputs)

    return Step()


def _call_operation(operation: Any, inputs: tuple[Any, ...]) -> Any:
    """Call a bare operation on tensors and numbers: Keras takes the factor of a multiplication for sparse."""
    from keras import KerasTensor

    positions = [position for position, value in enumerate(inputs) if isinstance(value, KerasTensor)]

    def compute(tensors: Any) -> Any:
        by_position = dict(zip(positions, tensors, strict=True))
        return operation(*(by_position.get(position, value) for position, value in enumerate(inputs)))

    return as_layer(None, compute, operation.name)([inputs[position] for position in positions])


def _fusion(network: Any) -> tuple[set[str], set[str]]:
    """Find, by name, the batch norms that are folded and the layers that are fused with the next one."""
    readers = Counter(id(tensor) for layer in network.operations for tensor in _inputs(layer))
    writers = {id(layer.output): layer for layer in network.operations}
    folded: set[str] = set()
    fused: set[str] = set()
    for layer in network.operations[1:]:
        before = writers[id(_inputs(layer)[0])]
        if readers[id(before.output)] > 1 or _activation(before) != "linear":
            continue
        kind, kind_before = type(layer).__name__, type(before).__name__
        if kind == "BatchNormalization" and kind_before in (*LINEAR, "SeparableConv2D"):
            folded.add(layer.name)
            fused.add(before.name)
        elif _relu(layer) and kind_before in (*LINEAR, "SeparableConv2D", "BatchNormalization", "Add"):
            fused.add(before.name)
    return folded, fused


def _inputs(layer: Any) -> list[Any]:
    return list(layer.input) if isinstance(layer.input, (list, tuple)) else [layer.input]


def _activation(layer: Any) -> str:
    """Name the activation function of a layer, "linear" for none."""
    function = getattr(layer, "activation", None)
    return "linear" if function is None else str(getattr(function, "__name__", function))


def _relu(layer: Any) -> str | None:
    """Name the ReLU that a layer is, if the converter fuses it into the operator before it."""
    if type(layer).__name__ == "Activation":
        return name if (name := _activation(layer)) in RELU.values() else None
    if type(layer).__name__ != "ReLU" or layer.negative_slope or layer.threshold:
        return None
    return RELU.get(layer.max_value)


def _linear(layer: Any, inputs: Any, context: LayerContext) -> Any:
    """Rebuild a convolution or a dense layer, with its activation."""
    from keras import ops

    kind = type(layer).__name__

    def compute(x: Any) -> Any:
        kernel = context.visitor.kernel(layer.kernel, kind)
        if kind == "Dense":
            output = ops.matmul(x, kernel)
        else:
            convolve = ops.depthwise_conv if kind == "DepthwiseConv2D" else ops.conv
            output = convolve(x, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate)
        return output + layer.bias if layer.use_bias else output

    return _with_activation(layer, as_layer(layer, compute, layer.name)(inputs), context)


def _separable(layer: Any, inputs: Any, context: LayerContext) -> Any:
    """Rebuild a separable convolution: a depthwise one, an 8-bit tensor, and a pointwise one."""
    from keras import ops

    visitor, name = context.visitor, f"{layer.name}/depthwise"

    def depthwise(x: Any) -> Any:
        kernel = visitor.kernel(layer.depthwise_kernel, "DepthwiseConv2D")
        return ops.depthwise_conv(
            x, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        )

    def pointwise(x: Any) -> Any:
        kernel = visitor.kernel(layer.pointwise_kernel, "Conv2D")
        output = ops.conv(x, kernel, data_format=layer.data_format)
        return output + layer.bias if layer.use_bias else output

    between = visitor.activation(name, as_layer(layer, depthwise, name)(inputs))
    return _with_activation(layer, as_layer(layer, pointwise, layer.name)(between), context)


def _batch_normalization(layer: Any, inputs: Any, context: LayerContext) -> Any:
    """Rebuild batch norm with its stored statistics: folded into a kernel, or as a product and a sum."""
    from keras import ops

    visitor, name = context.visitor, f"{layer.name}/scaled"

    def factor() -> Any:
        scale = ops.rsqrt(layer.moving_variance + layer.epsilon)
        return scale * layer.gamma if layer.scale else scale

    def shift() -> Any:
        shift = -layer.moving_mean * factor()
        return shift + layer.beta if layer.center else shift

    if context.folded:
        output = as_layer(layer, lambda x: x * factor() + shift(), layer.name)(inputs)
        return context.output(layer.name, output)
    product = as_layer(layer, lambda x: x * visitor.constant(factor()), name)(inputs)
    scaled = visitor.activation(name, product)
    output = as_layer(layer, lambda x: x + visitor.constant(shift()), layer.name)(scaled)
    return context.output(layer.name, output)


def _rescaling(layer: Any, inputs: Any, context: LayerContext) -> Any:
    """Rebuild a rescaling: a product and, unless the offset is zero, a sum."""
    import numpy as np

    visitor, name = context.visitor, f"{layer.name}/scaled"
    scale, offset = np.asarray(layer.scale, np.float32), np.asarray(layer.offset, np.float32)
    scaled = visitor.activation(name, as_layer(None, lambda x: x * visitor.constant(scale), name)(inputs))
    if not offset.any():
        return scaled
    output = as_layer(None, lambda x: x + visitor.constant(offset), layer.name)(scaled)
    return context.output(layer.name, output)


def _with_activation(layer: Any, output: Any, context: LayerContext) -> Any:
    """Add the activation of a layer: a ReLU is fused, others read an 8-bit tensor."""
    activation = _activation(layer)
    if activation == "linear":
        return context.output(layer.name, output)
    if activation not in RELU.values():
        output = context.visitor.activation(f"{layer.name}/linear", output)
    return _activate(activation, layer.name, output, context)


def _activate(activation: str, name: str, inputs: Any, context: LayerContext) -> Any:
    """Add an activation as the operators that it is converted to."""
    import keras

    visitor = context.visitor
    if activation in ("sigmoid", "silu"):
        gate_name = f"{name}/sigmoid"
        sigmoid = as_layer(None, keras.ops.sigmoid, gate_name)(inputs)
        gate = visitor.activation(gate_name, sigmoid)
        if activation == "sigmoid":
            return gate
        return visitor.activation(name, keras.layers.Multiply()([inputs, gate]))
    function = _hard_swish if activation == "hard_silu" else getattr(keras.ops, activation)
    return visitor.activation(name, as_layer(None, function, f"{name}/{activation}")(inputs))


def _hard_swish(x: Any) -> Any:
    """Compute hard swish in the form that the converter turns into one operator."""
    from keras import ops

    return x * ops.relu6(x + 3.0) * (1 / 6)


ACTIVATIONS = ("linear", *RELU.values(), "sigmoid", "silu", "hard_silu")

REBUILDERS: dict[str, Callable[[Any, Any, LayerContext], Any]] = {
    **dict.fromkeys(LINEAR, _linear),
    "SeparableConv2D": _separable,
    "BatchNormalization": _batch_normalization,
    "Rescaling": _rescaling,
    "ReLU": lambda layer, inputs, context: _activate(str(_relu(layer)), layer.name, inputs, context),
    "Activation": lambda layer, inputs, context: _activate(_activation(layer), layer.name, inputs, context),
    "Dropout": lambda _layer, inputs, _context: inputs,
}
"""Layers that are more than one operator, or have weights, and the function that rebuilds each."""
