"""Correct biases analytically: undo the shift of a layer's mean output that rounding its weights causes.

Rounding a kernel W to Wq shifts the mean output of channel c by
delta_c = E[layer(x; Wq)]_c - E[layer(x; W)]_c, a bias and not noise where the inputs have a large
mean (depthwise edge detectors, whose weights sum to about zero, suffer most). Subtracting delta from the
layer's bias removes the shift. See Nagel et al. 2019, "Data-Free Quantization Through Weight
Equalization and Bias Correction", section 4.2; here with measured instead of assumed input
statistics. A linear layer's mean output follows from the mean of its input alone, so one mean
feature map a layer is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.quantization.tflite_graph import FloatGraph, Linear

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = 127
"""Largest magnitude of a symmetric int8 weight (LiteRT 8-bit quantization specification)."""


@dataclass(frozen=True)
class Correction:
    """The correction of one layer: the largest shift of a channel, in units of its outputs."""

    layer: str
    largest: float


def round_weights(kernel: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Round a kernel to the values that int8 stores: symmetric, with a scale for every entry of `axis`.

    scale = max|W| / 127 over the other axes; the result is scale * round(W / scale), float32 in the shape
    of the kernel.
    """
    import numpy as np

    others = tuple(number for number in range(kernel.ndim) if number != axis % kernel.ndim)
    largest = np.abs(kernel).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float32)
    return (np.round(kernel / scale) * scale).astype(np.float32)


def correct_biases(
    graph: FloatGraph, means: Mapping[int, NDArray[np.float32]], besides: Collection[str] = ()
) -> list[Correction]:
    """Correct the biases of `graph` in place for 8-bit weights; returns one Correction per layer.

    `means` holds, by number of the tensor, the mean over the calibration images of every linear operator's
    input; layers named in `besides` keep their biases.
    """
    chosen = [layer for layer in graph.linears if layer.name not in besides]
    return [correct_bias(graph, layer, means[layer.input]) for layer in chosen]


def correct_bias(graph: FloatGraph, linear: Linear, mean: NDArray[np.float32]) -> Correction:
    """Correct the bias of one layer in place, given its mean input: bias - shift of the rounded weights."""
    kernel = graph.values(linear.weights)
    change = mean_shift(linear, round_weights(kernel, linear.channel_axis) - kernel, mean)
    graph.set_bias(linear, graph.bias(linear) - change)
    return Correction(linear.name, float(abs(change).max()))


def mean_shift(linear: Linear, error: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the mean change of a layer's output, float32[channels], when its weights change by `error`.

    `mean` is the mean input: float32[H, W, C] of a convolution, float32[features] of a dense layer. `error`
    has the shape of the weights in the `.tflite`: [out, h, w, in], depthwise [1, h, w, out], dense
    [out, in].
    """
    import numpy as np

    if linear.kind == "FULLY_CONNECTED":
        return np.asarray(error @ mean.reshape(-1), np.float32)
    height, width = error.shape[1:3]
    patch = mean_patch(linear, (height, width), mean)
    if linear.kind == "DEPTHWISE_CONV_2D":
        patch = np.repeat(patch, error.shape[3] // patch.shape[2], axis=2)
        return np.asarray((error[0] * patch).sum((0, 1)), np.float32)
    groups = patch.shape[2] // error.shape[3]
    parts = zip(np.split(error, groups, axis=0), np.split(patch, groups, axis=2), strict=True)
    return np.concatenate([np.einsum("ohwi,hwi->o", kernel, part) for kernel, part in parts])


def mean_patch(linear: Linear, kernel: tuple[int, int], mean: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average the input float32[H, W, C] that each tap of a kernel (h, w) reads, over all positions.

    Returns float64[h, w, C].
    """
    import numpy as np

    rows, columns = (_coverage(linear, axis, mean.shape[axis], kernel[axis]) for axis in (0, 1))
    patch: NDArray[np.float64] = np.einsum("ay,yxc,bx->abc", rows, mean, columns, optimize=True)
    return patch


def _coverage(linear: Linear, axis: int, size: int, taps: int) -> NDArray[np.float64]:
    """Compute for how many of its positions a tap lies on each input element: shares float64[taps, size]."""
    import numpy as np

    stride, dilation = linear.strides[axis], linear.dilations[axis]
    before, after = paddings(linear, axis, size, taps)
    count = (size + before + after - (taps - 1) * dilation - 1) // stride + 1
    shares = np.zeros((taps, size))
    for tap in range(taps):
        elements = np.arange(count) * stride + tap * dilation - before
        inside = elements[(elements >= 0) & (elements < size)]
        shares[tap, inside] = 1 / count
    return shares


def paddings(linear: Linear, axis: int, size: int, taps: int) -> tuple[int, int]:
    """Count the zeros before and after an axis (0 vertical, 1 horizontal) of an input of `size`.

    TensorFlow's "SAME" padding: as few as cover the input, the odd one at the end.
    """
    if not linear.same_padding:
        return 0, 0
    stride, span = linear.strides[axis], (taps - 1) * linear.dilations[axis] + 1
    total = max(0, (-(-size // stride) - 1) * stride + span - size)
    return total // 2, total - total // 2
