"""What 8 bits cost, layer by layer: noise that rounding adds, and answers that it changes.

Every layer is quantized alone in an otherwise float model, its weights and its outputs apart, and
the model's answers on held-out images are compared with the float model's own.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tledge._process.ordered_map import in_order
from tledge.errors import DataError
from tledge.progress import SILENT, Progress, track
from tledge.quantization.activation_statistics import Measured, Wanted, measure
from tledge.quantization.bias_correction import correct_bias, round_weights
from tledge.quantization.range_rules import fake_quantize
from tledge.quantization.tflite_graph import FloatGraph, Linear
from tledge.runtime.sessions import LiteRTSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PASSED_ON = ("CAST", "RESHAPE", "SQUEEZE", "PAD", "MAX_POOL_2D", "QUANTIZE", "DEQUANTIZE")
"""Operators whose outputs are their inputs' values: what 8 bits cost there was paid before."""

DEAD = 1e-3
"""Channels whose largest magnitude is below this share of the middle channel's count as unused."""

ROUNDED, CORRECTED, OUTPUT = "rounded", "corrected", "output"
"""What is quantized of a layer: weights, weights with the biases corrected for it, outputs."""

EVERYWHERE = -1
"""In place of a layer's number: all of them at once."""


@dataclass(frozen=True)
class Cost:
    """What a change does to the float model's answers.

    `lost` is the share of images that are answered differently; `moved` the mean over the images of
    the largest change of a probability, which tells apart what flips no answer yet.
    """

    lost: float
    moved: float


@dataclass(frozen=True)
class Layer:
    """One computed tensor and, where there are any, the weights that make it.

    Noise figures are 10 log10(sum of squares / sum of squared errors) in dB, None where nothing is
    lost. `channels` is the range of the widest channel over that of the middle one: weights have a
    scale for each channel, outputs (`output_channels`) share one.
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
        """What was measured of it."""
        return tuple(one for one in (self.rounded, self.corrected, self.output) if one)

    @property
    def cost(self) -> tuple[float, float]:
        """Its largest cost: (lost, moved), to order layers by."""
        return max(((one.lost, one.moved) for one in self.costs), default=(0.0, 0.0))


@dataclass(frozen=True)
class Sensitivity:
    """All layers in the order of the network, and what all together cost, by what is quantized."""

    images: int
    calibration_images: int
    seconds: float
    together: dict[str, Cost]
    layers: tuple[Layer, ...]

    @property
    def by_cost(self) -> tuple[Layer, ...]:
        """The layers, the costliest first."""
        return tuple(sorted(self.layers, key=lambda one: one.cost, reverse=True))


def decibels(values: NDArray[np.float32], kept: NDArray[np.float32]) -> float | None:
    """Signal to noise of what is kept of values: 10 log10(sum v² / sum (kept - v)²); None without noise."""
    import numpy as np

    signal = float(np.square(values, dtype=np.float64).sum())
    noise = float(np.square(kept.astype(np.float64) - values).sum())
    return 10 * math.log10(signal / noise) if signal and noise else None


def spread(largest: NDArray[np.float32]) -> float:
    """The widest channel over the middle one, of float32[channels] largest magnitudes; unused ones aside."""
    import numpy as np

    used = largest[largest > 0]
    used = used[used > DEAD * np.median(used)] if used.size else used
    return float(used.max() / np.median(used)) if used.size else 1.0


def sensitivity(
    model: bytes,
    calibration: NDArray[np.uint8],
    images: NDArray[np.uint8],
    progress: Progress = SILENT,
    *,
    kinds: tuple[str, ...] = (ROUNDED, CORRECTED, OUTPUT),
) -> Sensitivity:
    """Quantize one layer of a float `.tflite` after the other; images are uint8[N, H, W, 3].

    Ranges and means come from `calibration`, costs from `images`. Raises DataError without images,
    ConversionError where the model is not one graph of floats.
    """
    if not len(images):
        raise DataError("no held-out images to compare answers on: the validation split is too small.")
    started = time.monotonic()
    graph = FloatGraph(model)
    places = _computed(graph)
    measured = measure(model, calibration, _wanted(graph, places))
    costs = _costs(graph, places, measured, images, kinds, progress)
    names = short_names([graph.name(one) for one in places])
    layers = tuple(
        _layer(name, kind, _noise(graph, place, measured), {what: costs.get((place, what)) for what in kinds})
        for name, (place, kind) in zip(names, places.items(), strict=True)
    )
    together = {what: costs[EVERYWHERE, what] for what in kinds if (EVERYWHERE, what) in costs}
    seconds = round(time.monotonic() - started, 1)
    return Sensitivity(len(images), len(calibration), seconds, together, layers)


def _layer(name: str, kind: str, noise: Mapping[str, Any], costs: Mapping[str, Any]) -> Layer:
    return Layer(name=name, kind=kind, **noise, **costs)


def _computed(graph: FloatGraph) -> dict[int, str]:
    """Number of every computed float tensor that gets 8 bits of its own, and the kind that computes it."""
    floats = set(graph.activations)
    made = ((int(operator.outputs[0]), kind) for kind, operator in graph.operators() if kind not in PASSED_ON)
    return {place: kind for place, kind in made if place in floats}


def _wanted(graph: FloatGraph, places: Mapping[int, str]) -> Wanted:
    all_of_them = tuple(places)
    return Wanted(all_of_them, averaged=graph.linear_inputs, sampled=all_of_them, spread=all_of_them)


def _noise(graph: FloatGraph, place: int, measured: Measured) -> dict[str, Any]:
    """A layer's own figures: range and noise of its outputs, noise of its weights."""
    low, high = measured.ranges[place]
    values = measured.samples[place]
    found = {
        "low": low,
        "high": high,
        "output_db": decibels(values, fake_quantize(values, (low, high))),
        "output_channels": spread(measured.largest[place]),
    }
    linear = next((one for one in graph.linears if one.output == place), None)
    return {**found, **weight_noise(graph.values(linear.weights), linear.channel_axis)} if linear else found


def weight_noise(kernel: NDArray[np.float32], axis: int) -> dict[str, float | None]:
    """Noise of a rounded kernel, in all and in the worst channel of `axis`, and the channels' spread."""
    import numpy as np

    kept = round_weights(kernel, axis)
    channels = zip(np.moveaxis(kernel, axis, 0), np.moveaxis(kept, axis, 0), strict=True)
    noisy = [found for one, other in channels if (found := decibels(one, other)) is not None]
    largest = np.abs(np.moveaxis(kernel, axis, 0)).reshape(kernel.shape[axis], -1).max(1)
    return {
        "weights_db": decibels(kernel, kept),
        "worst_channel_db": min(noisy, default=None),
        "channels": spread(largest),
    }


def _costs(
    graph: FloatGraph,
    places: Mapping[int, str],
    measured: Measured,
    images: NDArray[np.uint8],
    kinds: tuple[str, ...],
    progress: Progress,
) -> dict[tuple[int, str], Cost]:
    """What each trial costs, several at a time, by place and what is quantized there."""
    wanted = LiteRTSession(graph.pack(), "the float model").run(images)
    trials = [
        (place, what)
        for what in kinds
        for place in (EVERYWHERE, *places)
        if place == EVERYWHERE or what == OUTPUT or any(one.output == place for one in graph.linears)
    ]

    def models() -> Iterator[bytes]:
        for place, what in trials:
            trial = graph.copy()
            for one in places if place == EVERYWHERE else (place,):
                quantize_one(trial, one, what, measured)
            yield trial.pack()

    def cost(model: bytes) -> Cost:
        return _cost(wanted, LiteRTSession(model, "a trial").run(images))

    cores = os.cpu_count() or 1
    found = in_order(cost, models(), cores, cores + 1)
    return dict(zip(trials, track(progress, found, "one layer at a time", len(trials)), strict=True))


def quantize_one(graph: FloatGraph, place: int, what: str, measured: Measured) -> None:
    """Give the layer that computes tensor `place` 8-bit weights or outputs; others stay as they are."""
    if what == OUTPUT:
        graph.fake_quantize(place, *measured.ranges[place])
        return
    for linear in [one for one in graph.linears if one.output == place]:
        _round(graph, linear, measured.means[linear.input] if what == CORRECTED else None)


def _round(graph: FloatGraph, linear: Linear, mean: NDArray[np.float32] | None) -> None:
    if mean is not None:
        correct_bias(graph, linear, mean)
    graph.set_values(linear.weights, round_weights(graph.values(linear.weights), linear.channel_axis))


def _cost(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> Cost:
    import numpy as np

    lost = float((wanted.argmax(1) != found.argmax(1)).mean())
    return Cost(lost, float(np.abs(wanted - found).max(1).mean()))


KERNELS = ("convolution", "depthwise", "MatMul")
"""Last parts of the names that say which Keras layer the weights are of."""


def short_names(names: list[str]) -> list[str]:
    """Names of Keras layers from those of fused tensors; with the operator, or whole, to stay different."""
    steps = [_steps(name) for name in names]
    if all(one[0].endswith("_1") for one in steps if len(one) > 1):  # Keras numbers scopes traced again
        steps = [(one[0].removesuffix("_1"), *one[1:]) for one in steps]
    count = Counter(one[0] for one in steps)
    made = ["/".join(one) if count[one[0]] > 1 else one[0] for one in steps]
    return made if len(set(made)) == len(made) else names


def _steps(name: str) -> tuple[str, ...]:
    """Layer and operator that a fused tensor's name names, or the one name that it is."""
    parts = [part for part in name.split(";") if part]
    kernel = next((part for part in parts if part.rsplit("/", 1)[-1] in KERNELS), parts[0])
    return tuple(kernel.split("/")[-2:])
