"""A network that computes as its int8 model will: rounded weights, activations of 8 bits in fixed ranges.

The network is built again, layer by layer, on the variables of a plain one. Kernels are rounded on
the way, with gradients passed straight through (Bengio et al. 2013); batch norm keeps its stored
statistics, so that rounding a raw kernel for each output channel is rounding what the converter
makes of it when it folds batch norm in: the channel's factor commutes with its scale. Every tensor
that the converter will hold in 8 bits goes through fake quantization (Jacob et al. 2018, section
3), in ranges seen once on photos; the converter takes the same ranges over from the graph.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import files
from tledge._io.json_records import from_json
from tledge.errors import RecipeError, RunError
from tledge.quantization.bias_correction import LEVELS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Range = tuple[float, float]
Point = Callable[[str, Any], Any]
"""Name and value of a tensor that int8 holds in 8 bits → what the network goes on with."""

FIXED: dict[str, Range] = {"input": (0.0, 255.0), "sigmoid": (0.0, 255 / 256)}
"""Ranges that are not measured: a byte is its own value; LiteRT's LOGISTIC gives 256ths."""

LINEAR = ("Conv2D", "DepthwiseConv2D", "Dense")
"""Layers with one kernel."""

RELU = {None: "relu", 6.0: "relu6"}
"""The ReLUs that the converter fuses into what stands before them, by their largest value."""

SAME = ("ZeroPadding2D", "MaxPooling2D", "AveragePooling2D", "Reshape", "Flatten", "Identity", "Softmax")
"""Layers whose 8-bit output has the scale of their input; a softmax has one that is always the same."""

ALONE = ("Add", "Multiply", "Concatenate", "GlobalAveragePooling2D")
"""Layers and bare operations that have a range of their own."""


def rounded(kernel: Any, kind: str) -> Any:
    """A kernel on its int8 levels, as `quantization.round_weights` has it; gradients pass unchanged.

    A scale for every output channel: the last axis, of a depthwise kernel the last two.
    """
    from keras import ops

    free = 2 if kind == "DepthwiseConv2D" else 1
    others = tuple(range(len(kernel.shape) - free))
    kernel = ops.convert_to_tensor(kernel)
    largest = ops.max(ops.abs(kernel), axis=others, keepdims=True)
    scale = ops.where(largest > 0, largest / LEVELS, 1.0)
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)


def build(plain: Any, ranges: Mapping[str, Range], *, to_train: bool = True) -> Any:
    """The quantize-aware twin of a network [N, H, W, 3] → probabilities, on the same variables.

    Not `to_train`, it is for the converter: it rounds the weights itself, and reads the ranges from
    the graph. Raises RunError where a range is missing.
    """
    quantized = _clipped if to_train else _fake_quantized

    def point(name: str, x: Any) -> Any:
        if name not in ranges:
            raise RunError(f"no range of {name} is known: the ranges are of another network. Train again.")
        low, high = ranges[name]
        return _step(None, lambda value: quantized(value, low, high), f"{name}/8_bit")(x)

    return _rebuilt(plain, point, rounds=to_train)


def measure(plain: Any, batches: Iterable[NDArray[np.uint8]]) -> dict[str, Range]:
    """What every 8-bit tensor holds over batches of images uint8[N, H, W, 3], 0 always within."""
    import keras
    import numpy as np
    from keras import ops

    seen: dict[str, Any] = {}

    def point(name: str, x: Any) -> Any:
        axes = tuple(range(1, len(x.shape)))
        seen[name] = ops.stack([ops.amin(x, axes), ops.amax(x, axes)], axis=-1)
        return x

    whole = _rebuilt(plain, point, rounds=False)
    watched = keras.Model(whole.input, ops.stack(list(seen.values()), axis=1))
    found = np.concatenate([np.asarray(watched.predict_on_batch(one.astype(np.float32))) for one in batches])
    low, high = found[..., 0].min(0), found[..., 1].max(0)
    own = {name: _with_zero(float(low[n]), float(high[n])) for n, name in enumerate(seen)}
    return {name: FIXED.get(name.rpartition("/")[2], span) for name, span in own.items()}


def _with_zero(low: float, high: float) -> Range:
    """A range that holds 0, as padding and ReLU need it, and is not empty."""
    low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if high > low else (0.0, 1.0)


def save_ranges(path: Path, ranges: Mapping[str, Range]) -> None:
    """Write ranges as JSON, in the order of computing."""
    files.write_json(path, {name: list(span) for name, span in ranges.items()})


def load_ranges(path: Path) -> dict[str, Range]:
    """Read ranges; raises RunError where they are missing or damaged."""
    try:
        return from_json(dict[str, tuple[float, float]], json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: no readable ranges ({error}). Train again.") from error


def _fake_quantized(x: Any, low: float, high: float) -> Any:
    """In the form that the converter reads a range from."""
    from keras.quantizers import fake_quant_with_min_max_vars

    return fake_quant_with_min_max_vars(x, low, high)


def _clipped(x: Any, low: float, high: float) -> Any:
    """The same values; gradients pass within the range, without the operator's own, which no GPU repeats."""
    from keras import ops

    inside = ops.clip(x, low, high)
    return inside + ops.stop_gradient(_fake_quantized(x, low, high) - inside)


def _step(holder: Any, compute: Callable[[Any], Any], name: str) -> Any:
    """A Keras layer that computes something with the variables of another, training or not."""
    import keras

    class Step(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=name.replace("/", "__"))
            self.holder = holder

        def call(self, inputs: Any) -> Any:
            return compute(inputs)

    return Step()


@dataclass(frozen=True)
class _Place:
    """Where a layer is built again: what to do with 8-bit tensors, and what it shares with others.

    `folded` says that a batch norm goes into the kernel before it, `fused` that the output goes into
    the ReLU (or the batch norm) behind it and is no tensor of its own.
    """

    point: Point
    rounds: bool
    folded: bool
    fused: bool

    def after(self, name: str, x: Any) -> Any:
        """The output of a layer."""
        return x if self.fused else self.point(name, x)

    def kernel(self, kernel: Any, kind: str) -> Any:
        return rounded(kernel, kind) if self.rounds else kernel

    def constant(self, values: Any) -> Any:
        """What is multiplied with or added, as the 8 bits over its own range that it is written in."""
        from keras import ops

        if not self.rounds:
            return values
        values = ops.convert_to_tensor(values)
        low, high = ops.minimum(ops.min(values), 0.0), ops.maximum(ops.max(values), 0.0)
        return values + ops.stop_gradient(_fake_quantized(values, low, high) - values)


def _rebuilt(plain: Any, point: Point, rounds: bool) -> Any:
    """A functional model in the steps that the converter makes of it, with a `point` after each."""
    import keras

    folded, fused = _joined(plain)
    entry = keras.Input(plain.input_shape[1:], dtype="float32", name=plain.input.name)
    image = point("input", entry)

    def call(layer: Any, *values: Any, **options: Any) -> Any:
        values = tuple(image if one is entry else one for one in values)
        place = _Place(point, rounds, layer.name in folded, layer.name in fused)
        kind = type(layer).__name__
        if kind in STEPS:
            return STEPS[kind](layer, values[0], place)
        made = layer(*values, **options) if isinstance(layer, keras.Layer) else _bare(layer, values)
        return made if kind in SAME else place.after(layer.name, made)

    return keras.models.clone_model(
        plain, input_tensors=entry, clone_function=lambda layer: layer, call_function=call
    )


def _bare(operation: Any, values: tuple[Any, ...]) -> Any:
    """An operation on tensors and numbers; Keras takes what a number was multiplied with for sparse."""
    from keras import KerasTensor

    places = [number for number, one in enumerate(values) if isinstance(one, KerasTensor)]

    def compute(tensors: Any) -> Any:
        given = dict(zip(places, tensors, strict=True))
        return operation(*(given.get(number, one) for number, one in enumerate(values)))

    return _step(None, compute, operation.name)([values[place] for place in places])


def require_known(net: Any) -> None:
    """Raise RecipeError, naming it, for a layer that cannot be built again."""
    known = {*STEPS, *SAME, *ALONE, "InputLayer"}
    for layer in net.operations:
        kind, activation = type(layer).__name__, _activation(layer)
        what = kind if kind not in known else "" if activation in ACTIVATIONS else f"activation {activation}"
        if kind == "ReLU" and _relu(layer) is None:
            what = "a ReLU with a slope, a threshold or another limit than 6"
        if what:
            raise RecipeError(
                f"quantize_aware: layer {layer.name} is {what}, which is not known here as integers. "
                "Leave the stage out, or take another backbone."
            )


def _joined(net: Any) -> tuple[set[str], set[str]]:
    """Names of batch norms that go into kernels, and of layers whose output is no tensor of its own."""
    readers = Counter(id(one) for layer in net.operations for one in _inputs(layer))
    before = {id(layer.output): layer for layer in net.operations}
    folded: set[str] = set()
    fused: set[str] = set()
    for layer in net.operations[1:]:
        first = before[id(_inputs(layer)[0])]
        if readers[id(first.output)] > 1 or _activation(first) != "linear":
            continue
        kind, other = type(layer).__name__, type(first).__name__
        if kind == "BatchNormalization" and other in (*LINEAR, "SeparableConv2D"):
            folded.add(layer.name)
            fused.add(first.name)
        elif _relu(layer) and other in (*LINEAR, "SeparableConv2D", "BatchNormalization", "Add"):
            fused.add(first.name)
    return folded, fused


def _inputs(layer: Any) -> list[Any]:
    found = layer.input
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _activation(layer: Any) -> str:
    """Name of the function at the end of a layer."""
    found = getattr(layer, "activation", None)
    return "linear" if found is None else str(getattr(found, "__name__", found))


def _relu(layer: Any) -> str | None:
    """Which ReLU a layer is, of those that the converter fuses with what stands before."""
    if type(layer).__name__ == "Activation":
        return found if (found := _activation(layer)) in RELU.values() else None
    if type(layer).__name__ != "ReLU" or layer.negative_slope or layer.threshold:
        return None
    return RELU.get(layer.max_value)


def _linear(layer: Any, x: Any, place: _Place) -> Any:
    """A convolution or a dense layer, with what it has of an activation."""
    from keras import ops

    kind = type(layer).__name__

    def compute(x: Any) -> Any:
        kernel = place.kernel(layer.kernel, kind)
        if kind == "Dense":
            made = ops.matmul(x, kernel)
        else:
            convolve = ops.depthwise_conv if kind == "DepthwiseConv2D" else ops.conv
            made = convolve(x, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate)
        return made + layer.bias if layer.use_bias else made

    return _ended(layer, _step(layer, compute, layer.name)(x), place)


def _separable(layer: Any, x: Any, place: _Place) -> Any:
    """A depthwise convolution and one of single pixels, with a tensor between them."""
    from keras import ops

    name = f"{layer.name}/depthwise"

    def depthwise(x: Any) -> Any:
        kernel = place.kernel(layer.depthwise_kernel, "DepthwiseConv2D")
        return ops.depthwise_conv(
            x, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        )

    def pointwise(x: Any) -> Any:
        made = ops.conv(x, place.kernel(layer.pointwise_kernel, "Conv2D"), data_format=layer.data_format)
        return made + layer.bias if layer.use_bias else made

    between = place.point(name, _step(layer, depthwise, name)(x))
    return _ended(layer, _step(layer, pointwise, layer.name)(between), place)


def _normalized(layer: Any, x: Any, place: _Place) -> Any:
    """Batch norm with its stored statistics: into the kernel before it, or multiplied and added."""
    from keras import ops

    name = f"{layer.name}/scaled"

    def factor() -> Any:
        scale = ops.rsqrt(layer.moving_variance + layer.epsilon)
        return scale * layer.gamma if layer.scale else scale

    def shift() -> Any:
        shift = -layer.moving_mean * factor()
        return shift + layer.beta if layer.center else shift

    if place.folded:
        return place.after(layer.name, _step(layer, lambda x: x * factor() + shift(), layer.name)(x))
    made = place.point(name, _step(layer, lambda x: x * place.constant(factor()), name)(x))
    return place.after(layer.name, _step(layer, lambda x: x + place.constant(shift()), layer.name)(made))


def _rescaled(layer: Any, x: Any, place: _Place) -> Any:
    """Rescaling: a product and, where there is one, a sum."""
    import numpy as np

    name = f"{layer.name}/scaled"
    scale, offset = np.asarray(layer.scale, np.float32), np.asarray(layer.offset, np.float32)
    made = place.point(name, _step(None, lambda x: x * place.constant(scale), name)(x))
    if not offset.any():
        return made
    return place.after(layer.name, _step(None, lambda x: x + place.constant(offset), layer.name)(made))


def _ended(layer: Any, x: Any, place: _Place) -> Any:
    """What a layer has at its end: an activation that is fused, or one with tensors of its own."""
    activation = _activation(layer)
    if activation == "linear":
        return place.after(layer.name, x)
    if activation not in RELU.values():
        x = place.point(f"{layer.name}/linear", x)
    return _active(activation, layer.name, x, place)


def _active(activation: str, name: str, x: Any, place: _Place) -> Any:
    """An activation as the operators that it is converted to."""
    import keras

    function = {"hard_silu": _hard_swish}.get(activation) or getattr(
        keras.ops, "sigmoid" if activation == "silu" else activation
    )
    gate = f"{name}/sigmoid"
    if activation in ("sigmoid", "silu"):
        made = place.point(gate, _step(None, function, gate)(x))
        return made if activation == "sigmoid" else place.point(name, keras.layers.Multiply()([x, made]))
    return place.point(name, _step(None, function, f"{name}/{activation}")(x))


def _hard_swish(x: Any) -> Any:
    """In the form that the converter knows as one operator."""
    from keras import ops

    return x * ops.relu6(x + 3.0) * (1 / 6)


ACTIVATIONS = ("linear", *RELU.values(), "sigmoid", "silu", "hard_silu")

STEPS: dict[str, Callable[[Any, Any, _Place], Any]] = {
    **dict.fromkeys(LINEAR, _linear),
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalized,
    "Rescaling": _rescaled,
    "ReLU": lambda layer, x, place: _active(str(_relu(layer)), layer.name, x, place),
    "Activation": lambda layer, x, place: _active(_activation(layer), layer.name, x, place),
    "Dropout": lambda _layer, x, _place: x,
}
"""Layers that are more than one operator, or have weights: how each is built again."""
