"""Build a network that computes as its int8 model will: rounded weights, 8-bit activations in fixed ranges.

The network is rebuilt, layer by layer, on the variables of a plain one. Kernels are rounded on the way,
with gradients passed straight through (Bengio et al. 2013). Batch norm keeps its stored statistics, so
that rounding a raw kernel for each output channel equals rounding what the converter makes of it when it
folds batch norm in: the channel's factor commutes with its scale. Every tensor that the converter will
hold in 8 bits is fake-quantized (Jacob et al. 2018, section 3), in ranges measured once on photos; the
converter takes the same ranges from the graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import files
from tledge.errors import RunError
from tledge.quantization.bias_correction import LEVELS
from tledge.quantization.layer_rebuilding import as_layer, rebuild

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Range = tuple[float, float]
"""Least and largest value of a tensor; 0 lies within."""

FIXED: dict[str, Range] = {"input": (0.0, 255.0), "sigmoid": (0.0, 255 / 256)}
"""Ranges that are not measured: a byte is its own value, and LiteRT's LOGISTIC gives 256ths."""


def build(plain: Any, ranges: Mapping[str, Range], *, to_train: bool = True) -> Any:
    """Build the quantization-aware twin of a network [N, H, W, 3] → probabilities, on the same variables.

    With `to_train` false it is built for the converter, which rounds weights itself and reads the ranges
    from the graph. Raises RunError where a range is missing.
    """
    return rebuild(plain, FakeQuantizer(ranges, to_train))


def measure(plain: Any, batches: Iterable[NDArray[np.uint8]]) -> dict[str, Range]:
    """Measure the range of every 8-bit tensor over batches of images uint8[N, H, W, 3], widened to hold 0."""
    import keras
    import numpy as np
    from keras import ops

    recorder = RangeRecorder()
    network = rebuild(plain, recorder)
    observed = keras.Model(network.input, ops.stack(list(recorder.extremes.values()), axis=1))
    extremes = np.concatenate(
        [np.asarray(observed.predict_on_batch(batch.astype(np.float32))) for batch in batches]
    )
    low, high = extremes[..., 0].min(0), extremes[..., 1].max(0)
    return {
        name: FIXED.get(name.rpartition("/")[2], _with_zero(float(low[number]), float(high[number])))
        for number, name in enumerate(recorder.extremes)
    }


def _with_zero(low: float, high: float) -> Range:
    """Widen a range to hold 0, as padding and ReLU need it, and to be not empty."""
    low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if high > low else (0.0, 1.0)


def save_ranges(path: Path, ranges: Mapping[str, Range]) -> None:
    """Write ranges as JSON, in the order of execution."""
    files.write_json(path, {name: list(span) for name, span in ranges.items()})


def load_ranges(path: Path) -> dict[str, Range]:
    """Read ranges; raises RunError where they are missing or damaged."""
    try:
        ranges = json.loads(path.read_text(encoding="utf-8"))
        return {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: cannot read the activation ranges ({error}). Train again.") from error


@dataclass(frozen=True)
class RangeRecorder:
    """A visitor that records the least and largest value of every 8-bit tensor, and replaces nothing.

    `extremes` has, by name of the tensor, a tensor float32[N, 2].
    """

    extremes: dict[str, Any] = field(default_factory=dict)

    def activation(self, name: str, tensor: Any) -> Any:
        """Record the extremes of a tensor for every image of the batch."""
        from keras import ops

        axes = tuple(range(1, len(tensor.shape)))
        self.extremes[name] = ops.stack([ops.amin(tensor, axes), ops.amax(tensor, axes)], axis=-1)
        return tensor

    def kernel(self, kernel: Any, _kind: str) -> Any:
        """Return the kernel unchanged."""
        return kernel

    def constant(self, values: Any) -> Any:
        """Return the constant unchanged."""
        return values


@dataclass(frozen=True)
class FakeQuantizer:
    """A visitor that fake-quantizes activations in given ranges and, `to_train`, kernels and constants."""

    ranges: Mapping[str, Range]
    to_train: bool

    def activation(self, name: str, tensor: Any) -> Any:
        """Fake-quantize a tensor; raises RunError where its range is missing."""
        if name not in self.ranges:
            raise RunError(
                f"no range is stored for tensor {name}: the ranges belong to another network. Train again."
            )
        low, high = self.ranges[name]
        quantize = _fake_quantize_with_gradient if self.to_train else _fake_quantize
        return as_layer(None, lambda values: quantize(values, low, high), f"{name}/8_bit")(tensor)

    def kernel(self, kernel: Any, kind: str) -> Any:
        """Round a kernel to its int8 levels."""
        return round_kernel(kernel, kind) if self.to_train else kernel

    def constant(self, values: Any) -> Any:
        """Round a constant to the 8 bits over its own range in which it is stored."""
        from keras import ops

        if not self.to_train:
            return values
        values = ops.convert_to_tensor(values)
        low, high = ops.minimum(ops.min(values), 0.0), ops.maximum(ops.max(values), 0.0)
        return values + ops.stop_gradient(_fake_quantize(values, low, high) - values)


def round_kernel(kernel: Any, kind: str) -> Any:
    """Round a kernel to its int8 levels, as `bias_correction.round_weights` does; gradients pass unchanged.

    There is one scale for every output channel: the last axis, of a depthwise kernel the last two.
    """
    from keras import ops

    channel_axes = 2 if kind == "DepthwiseConv2D" else 1
    other_axes = tuple(range(len(kernel.shape) - channel_axes))
    kernel = ops.convert_to_tensor(kernel)
    largest = ops.max(ops.abs(kernel), axis=other_axes, keepdims=True)
    scale = ops.where(largest > 0, largest / LEVELS, 1.0)
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)


def _fake_quantize(values: Any, low: float, high: float) -> Any:
    """Fake-quantize with the operator from which the converter reads a range."""
    from keras.quantizers import fake_quant_with_min_max_vars

    return fake_quant_with_min_max_vars(values, low, high)


def _fake_quantize_with_gradient(values: Any, low: float, high: float) -> Any:
    """Fake-quantize to the same values, with gradients that pass unchanged within the range.

    The operator's own gradient is not reproducible on a GPU.
    """
    from keras import ops

    clipped = ops.clip(values, low, high)
    return clipped + ops.stop_gradient(_fake_quantize(values, low, high) - clipped)
