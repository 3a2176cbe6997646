"""Measure the cost of 8 bits layer by layer: the rounding noise, and the predictions that it changes.

Every layer is quantized alone in an otherwise float model, its weights and its outputs separately, and
the predictions on held-out images are compared with the float model's.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tledge._process import processors
from tledge._process.ordered_map import in_order
from tledge.errors import DataError
from tledge.progress import SILENT, Progress, track
from tledge.quantization.activation_statistics import TensorSelection, TensorStatistics, measure
from tledge.quantization.bias_correction import correct_bias, round_weights
from tledge.quantization.range_rules import fake_quantize
from tledge.quantization.tflite_graph import FloatGraph, Linear
from tledge.runtime.sessions import LiteRTSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PASSED_ON = ("CAST", "RESHAPE", "SQUEEZE", "PAD", "MAX_POOL_2D", "QUANTIZE", "DEQUANTIZE")
"""Operators that pass on the values of their inputs: 8 bits add no cost there."""

DEAD = 1e-3
"""Channels whose largest magnitude is below this share of the median channel's count as unused."""

ROUNDED, CORRECTED, OUTPUT = "rounded", "corrected", "output"
"""What is quantized of a layer: weights, weights with corrected biases, outputs."""

EVERYWHERE = -1
"""In place of the number of a tensor: all layers at once."""


@dataclass(frozen=True)
class Cost:
    """How a change affects the float model's predictions.

    `lost` is the share of images whose predicted class changes; `moved` the mean over the images of the
    largest change of a probability, which ranks changes that flip no prediction.
    """

    lost: float
    moved: float


@dataclass(frozen=True)
class Layer:
    """One computed tensor and, where there are any, the weights of its operator.

    Signal-to-noise figures are 10 log10(sum of squares / sum of squared errors) in dB, None without noise.
    `channels` is the magnitude of the widest channel over that of the median one, of the weights, which have
    a scale for each channel; `output_channels` is that of the outputs, which share one.
    """

    name: str
    kind: str
    low: float
    high: float
    output_db: float | None
    output_channels: float
    weights_db: float | None = None
    worst_channel_db: float | None = None
    channels: float | None = None
    rounded: Cost | None = None
    corrected: Cost | None = None
    output: Cost | None = None

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The costs that were measured."""
        return tuple(cost for cost in (self.rounded, self.corrected, self.output) if cost)

    @property
    def cost(self) -> tuple[float, float]:
        """The largest cost as (lost, moved), to order layers by."""
        return max(((cost.lost, cost.moved) for cost in self.costs), default=(0.0, 0.0))


@dataclass(frozen=True)
class Sensitivity:
    """All layers in the order of execution, and the cost of quantizing all at once (`together`, by kind)."""

    images: int
    calibration_images: int
    seconds: float
    together: dict[str, Cost]
    layers: tuple[Layer, ...]

    @property
    def by_cost(self) -> tuple[Layer, ...]:
        """The layers, the most costly first."""
        return tuple(sorted(self.layers, key=lambda layer: layer.cost, reverse=True))


def decibels(values: NDArray[np.float32], rounded: NDArray[np.float32]) -> float | None:
    """Compute the signal-to-noise ratio 10 log10(sum v² / sum (rounded - v)²) in dB; None without noise.

    Both arrays are float32 of one shape.
    """
    import numpy as np

    signal = float(np.square(values, dtype=np.float64).sum())
    noise = float(np.square(rounded.astype(np.float64) - values).sum())
    return 10 * math.log10(signal / noise) if signal and noise else None


def channel_spread(largest: NDArray[np.float32]) -> float:
    """Divide the largest of float32[channels] magnitudes by their median, unused channels left out."""
    import numpy as np

    used = largest[largest > 0]
    used = used[used > DEAD * np.median(used)] if used.size else used
    return float(used.max() / np.median(used)) if used.size else 1.0


def measure_sensitivity(
    model: bytes,
    calibration: NDArray[np.uint8],
    images: NDArray[np.uint8],
    progress: Progress = SILENT,
    *,
    kinds: tuple[str, ...] = (ROUNDED, CORRECTED, OUTPUT),
) -> Sensitivity:
    """Quantize one layer of a float `.tflite` after the other, and measure the cost of each.

    Args:
        model: The float `.tflite`.
        calibration: Images uint8[N, H, W, 3] that ranges and means are measured on.
        images: Held-out images uint8[M, H, W, 3] that costs are measured on.
        progress: Where progress is reported.
        kinds: What to quantize of each layer.

    Raises:
        DataError: there are no held-out images.
        ConversionError: the model is not a single float graph.
    """
    if not len(images):
        raise DataError("no held-out images to compare predictions on: the validation split is too small.")
    started = time.monotonic()
    graph = FloatGraph(model)
    kind_of = _quantized_tensors(graph)
    tensors = tuple(kind_of)
    wanted = TensorSelection(tensors, averaged=graph.linear_inputs, sampled=tensors, spread=tensors)
    measured = measure(model, calibration, wanted)
    costs = _costs(graph, tensors, measured, images, kinds, progress)
    names = dict(zip(tensors, short_names([graph.name(tensor) for tensor in tensors]), strict=True))
    layers = tuple(
        _layer(
            names[tensor],
            kind_of[tensor],
            _noise(graph, tensor, measured),
            {part: costs.get((tensor, part)) for part in kinds},
        )
        for tensor in tensors
    )
    together = {part: costs[EVERYWHERE, part] for part in kinds if (EVERYWHERE, part) in costs}
    seconds = round(time.monotonic() - started, 1)
    return Sensitivity(len(images), len(calibration), seconds, together, layers)


def _layer(name: str, kind: str, noise: Mapping[str, Any], costs: Mapping[str, Any]) -> Layer:
    return Layer(name=name, kind=kind, **noise, **costs)


def _quantized_tensors(graph: FloatGraph) -> dict[int, str]:
    """Find every computed float tensor that gets 8 bits of its own: its number, and its operator's kind."""
    floats = set(graph.activations)
    outputs = (
        (int(operator.outputs[0]), kind) for kind, operator in graph.operators() if kind not in PASSED_ON
    )
    return {tensor: kind for tensor, kind in outputs if tensor in floats}


def _noise(graph: FloatGraph, tensor: int, measured: TensorStatistics) -> dict[str, Any]:
    """Measure a layer's range, the noise of its outputs, and the noise of its weights."""
    low, high = measured.ranges[tensor]
    values = measured.samples[tensor]
    figures = {
        "low": low,
        "high": high,
        "output_db": decibels(values, fake_quantize(values, (low, high))),
        "output_channels": channel_spread(measured.largest[tensor]),
    }
    for linear in _linears_of(graph, tensor):
        figures |= weight_noise(graph.values(linear.weights), linear.channel_axis)
    return figures


def _linears_of(graph: FloatGraph, tensor: int) -> list[Linear]:
    """List the linear operators, at most one, that compute a tensor."""
    return [linear for linear in graph.linears if linear.output == tensor]


def weight_noise(kernel: NDArray[np.float32], axis: int) -> dict[str, float | None]:
    """Measure the noise of a rounded float32 kernel, in all and in the worst channel of `axis`.

    Returns fields of `Layer`: both figures in dB, and the spread of the channels.
    """
    import numpy as np

    rounded = round_weights(kernel, axis)
    channels = zip(np.moveaxis(kernel, axis, 0), np.moveaxis(rounded, axis, 0), strict=True)
    by_channel = [decibels(channel, rounded_channel) for channel, rounded_channel in channels]
    largest = np.abs(np.moveaxis(kernel, axis, 0)).reshape(kernel.shape[axis], -1).max(1)
    return {
        "weights_db": decibels(kernel, rounded),
        "worst_channel_db": min((noise for noise in by_channel if noise is not None), default=None),
        "channels": channel_spread(largest),
    }


def _costs(
    graph: FloatGraph,
    tensors: Sequence[int],
    measured: TensorStatistics,
    images: NDArray[np.uint8],
    kinds: tuple[str, ...],
    progress: Progress,
) -> dict[tuple[int, str], Cost]:
    """Measure the cost of every trial, several in parallel, by tensor and what is quantized there."""
    reference = LiteRTSession(graph.pack(), "the float model").run(images)
    trials = [
        (tensor, part)
        for part in kinds
        for tensor in (EVERYWHERE, *tensors)
        if tensor == EVERYWHERE or part == OUTPUT or _linears_of(graph, tensor)
    ]

    def models() -> Iterator[bytes]:
        for tensor, part in trials:
            copy = graph.copy()
            for quantized in tensors if tensor == EVERYWHERE else (tensor,):
                quantize_one(copy, quantized, part, measured)
            yield copy.pack()

    def cost(model: bytes) -> Cost:
        return _cost(reference, LiteRTSession(model, "a trial").run(images))

    cores = processors.usable()
    costs = in_order(cost, models(), cores, cores + 1)
    return dict(zip(trials, track(progress, costs, "one layer at a time", len(trials)), strict=True))


def quantize_one(graph: FloatGraph, tensor: int, part: str, measured: TensorStatistics) -> None:
    """Quantize in place the outputs or the weights of the layer that computes a tensor."""
    if part == OUTPUT:
        graph.fake_quantize(tensor, *measured.ranges[tensor])
        return
    for linear in _linears_of(graph, tensor):
        _round(graph, linear, measured.means[linear.input] if part == CORRECTED else None)


def _round(graph: FloatGraph, linear: Linear, mean: NDArray[np.float32] | None) -> None:
    if mean is not None:
        correct_bias(graph, linear, mean)
    graph.set_values(linear.weights, round_weights(graph.values(linear.weights), linear.channel_axis))


def _cost(reference: NDArray[np.float32], probabilities: NDArray[np.float32]) -> Cost:
    import numpy as np

    lost = float((reference.argmax(1) != probabilities.argmax(1)).mean())
    return Cost(lost, float(np.abs(reference - probabilities).max(1).mean()))


KERNELS = ("convolution", "depthwise", "MatMul")
"""Last parts of the tensor names that name the Keras layer which holds the weights."""


def short_names(names: list[str]) -> list[str]:
    """Shorten names of fused tensors to those of Keras layers.

    The operator is appended where layers repeat; all names stay complete where they would still be equal.
    """
    paths = [_layer_and_operator(name) for name in names]
    if all(path[0].endswith("_1") for path in paths if len(path) > 1):  # Keras numbers scopes traced again
        paths = [(path[0].removesuffix("_1"), *path[1:]) for path in paths]
    count = Counter(path[0] for path in paths)
    shortened = ["/".join(path) if count[path[0]] > 1 else path[0] for path in paths]
    return shortened if len(set(shortened)) == len(shortened) else names


def _layer_and_operator(name: str) -> tuple[str, ...]:
    """Split the name of a fused tensor into layer and operator, where it has such parts."""
    parts = [part for part in name.split(";") if part]
    kernel = next((part for part in parts if part.rsplit("/", 1)[-1] in KERNELS), parts[0])
    return tuple(kernel.split("/")[-2:])
