"""Make the quantization candidates of a repair: integer-only, mixed-precision, and of other modes.

An integer-only candidate is a pipeline from the float model to an int8 model. What pipelines share
(corrected, equalized, rounded float graphs) is computed once and copied before it is changed, so that no
candidate depends on those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from tledge.quantization import mixed_precision, range_rules
from tledge.quantization.activation_statistics import TensorSelection, TensorStatistics, mean_outputs, measure
from tledge.quantization.bias_correction import correct_biases
from tledge.quantization.equalization import equalize
from tledge.quantization.gptq import covariances, round_together
from tledge.quantization.tflite_graph import FloatGraph
from tledge.runtime.session_pool import run_on_all_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUBSET_IMAGES = 32
"""Calibration images for covariances and for means of quantized tensors, which cost more than ranges."""

INTEGER, MIXED = "int8", "mixed"
"""Modes of the candidates that are made here; candidates of other modes are made by the caller."""


@dataclass(frozen=True)
class RepairInputs:
    """What candidates are made from.

    `model` is the float `.tflite`, `calibration` images uint8[N, H, W, 3], `statistics` what the model's
    tensors hold on them (ranges of all, means of the layers' inputs), `quantize` the quantizer.
    """

    model: bytes
    calibration: NDArray[np.uint8]
    statistics: TensorStatistics
    quantize: mixed_precision.Quantize

    @property
    def subset(self) -> NDArray[np.uint8]:
        """About `SUBSET_IMAGES` of the calibration images, evenly spaced."""
        return self.calibration[:: max(1, len(self.calibration) // SUBSET_IMAGES)]


@dataclass(frozen=True)
class QuantizationCandidate:
    """A model that may be taken, its mode, and the layers that were changed or left in float for it."""

    name: str
    mode: str
    data: bytes
    layers: tuple[str, ...] = ()


def with_bytes(model: bytes) -> bytes:
    """Make a `.tflite` with float input take uint8 pixels."""
    graph = FloatGraph(model)
    graph.take_bytes()
    return graph.pack()


@dataclass(frozen=True)
class AdjustedGraph:
    """A float graph to quantize, and the names of the layers whose channels were equalized in it."""

    graph: FloatGraph
    layers: tuple[str, ...] = ()


class AdjustedGraphs:
    """The float graphs that integer-only candidates start from, each computed when first asked for.

    Nobody changes them once they are computed: what a candidate changes is a copy.
    """

    def __init__(self, inputs: RepairInputs) -> None:
        self.inputs = inputs

    @cached_property
    def converted(self) -> AdjustedGraph:
        """The float model as the converter made it."""
        return AdjustedGraph(FloatGraph(self.inputs.model))

    @cached_property
    def bias_corrected(self) -> AdjustedGraph:
        """The float model with analytically corrected biases."""
        graph = self.converted.graph.copy()
        correct_biases(graph, self.inputs.statistics.means)
        return AdjustedGraph(graph)

    @cached_property
    def equalized(self) -> AdjustedGraph:
        """The float model with equalized channels."""
        graph = self.converted.graph.copy()
        outputs = tuple(layer.output for layer in graph.linears)
        largest = measure(graph.pack(), self.inputs.calibration, TensorSelection(spread=outputs)).largest
        return AdjustedGraph(graph, tuple(equalize(graph, largest)))

    @cached_property
    def equalized_and_rounded(self) -> AdjustedGraph:
        """The equalized model with its weights rounded by GPTQ."""
        graph = self.equalized.graph.copy()
        shapes = {layer.name: graph.values(layer.weights).shape for layer in graph.linears}
        round_together(graph, covariances(graph.pack(), self.inputs.subset, graph.linears, shapes))
        return AdjustedGraph(graph, self.equalized.layers)


@dataclass(frozen=True)
class IntegerPipeline:
    """How one integer-only candidate is made: the float graph to start from, and how it is quantized.

    Both are pure: pipelines run in any order, or alone, make the same candidates.
    """

    name: str
    start: Callable[[AdjustedGraphs], AdjustedGraph]
    quantize: Callable[[FloatGraph, RepairInputs], bytes]

    def run(self, graphs: AdjustedGraphs) -> QuantizationCandidate:
        """Make the candidate."""
        adjusted = self.start(graphs)
        data = self.quantize(adjusted.graph, graphs.inputs)
        return QuantizationCandidate(self.name, INTEGER, data, adjusted.layers)


def integer_candidates(inputs: RepairInputs) -> Iterator[QuantizationCandidate]:
    """Make the candidates whose operators are all integer, one after the other."""
    graphs = AdjustedGraphs(inputs)
    return (pipeline.run(graphs) for pipeline in INTEGER_PIPELINES)


def mixed_precision_candidates(
    inputs: RepairInputs, images: NDArray[np.uint8]
) -> Iterator[QuantizationCandidate]:
    """Make candidates with more and more operators in float, those that gain most first.

    Operators are ranked on held-out `images` uint8[N, H, W, 3]; those that are quantized have their biases
    corrected.
    """
    images = mixed_precision.ranking_images(images)
    reference = run_on_all_cores(with_bytes(inputs.model), "the float model", images)
    ranked_graph = _with_percentile_ranges(inputs, frozenset())
    best = mixed_precision.rank_runs(ranked_graph.pack(), inputs.quantize, images, reference)
    for in_float in mixed_precision.combine_best_runs(ranked_graph, best):
        data = inputs.quantize(_with_percentile_ranges(inputs, in_float).pack(), in_float)
        yield QuantizationCandidate(
            f"{len(in_float)} operators in float", MIXED, data, tuple(sorted(in_float))
        )


def _with_percentile_ranges(inputs: RepairInputs, in_float: frozenset[str]) -> FloatGraph:
    """Correct the biases of the float model besides those `in_float`, and set percentile ranges."""
    graph = FloatGraph(inputs.model)
    correct_biases(graph, inputs.statistics.means, besides=in_float)
    _set_ranges(graph, inputs, range_rules.percentile)
    return graph


def other_mode_candidates(makers: Mapping[str, Callable[[], bytes]]) -> Iterator[QuantizationCandidate]:
    """Make candidates of other modes: `makers` has, by mode, a function that makes the model."""
    names = {
        "dynamic": "integer weights, float activations",
        "int16x8": "16-bit activations",
        "fp16": "float16 weights",
    }
    for mode, make in makers.items():
        yield QuantizationCandidate(names[mode], mode, make())


def _quantize_in_measured_ranges(graph: FloatGraph, inputs: RepairInputs) -> bytes:
    """Quantize in the ranges that were measured on the float model, where they still hold."""
    copy = graph.copy()
    copy.set_ranges(inputs.statistics.ranges)
    return inputs.quantize(copy.pack(), frozenset())


def _quantize(graph: FloatGraph, inputs: RepairInputs) -> bytes:
    """Quantize in ranges that are measured on the adjusted graph."""
    copy = graph.copy()
    _set_ranges(copy, inputs, None)
    return inputs.quantize(copy.pack(), frozenset())


def _quantize_layer_by_layer(
    graph: FloatGraph, inputs: RepairInputs, rule: range_rules.Rule | None = None
) -> bytes:
    """Quantize, then correct one bias after the other by the mean output of the quantized layer.

    The empirical bias correction of Nagel et al. 2019, section 4.2: from the input on, each layer is
    measured behind those that are corrected already. If all were measured at once, an error would be
    corrected where it arises and again in every layer behind it. Unlike the analytic correction, this one
    includes the errors of 8-bit activations.
    """
    expected = mean_outputs(graph.pack(), inputs.subset, [layer.name for layer in graph.linears])
    copy = graph.copy()
    _set_ranges(copy, inputs, rule)
    for layer in copy.linears:
        measured = mean_outputs(inputs.quantize(copy.pack(), frozenset()), inputs.subset, [layer.name])
        if layer.name in measured:
            copy.set_bias(layer, copy.bias(layer) + expected[layer.name] - measured[layer.name])
    return inputs.quantize(copy.pack(), frozenset())


def _set_ranges(graph: FloatGraph, inputs: RepairInputs, rule: range_rules.Rule | None) -> None:
    """Set the ranges that `rule` chooses from the measured values, or without a rule the measured ranges."""
    sampled = tuple(tensor for tensor in graph.activations if tensor not in graph.inputs) if rule else ()
    measured = measure(graph.pack(), inputs.calibration, TensorSelection(graph.activations, sampled=sampled))
    graph.set_ranges(
        range_rules.choose_ranges(rule, measured.samples, measured.ranges) if rule else measured.ranges
    )


_layer_by_layer_percentile = partial(_quantize_layer_by_layer, rule=range_rules.percentile)
_layer_by_layer_least_error = partial(_quantize_layer_by_layer, rule=range_rules.least_error)

INTEGER_PIPELINES = (
    IntegerPipeline("as converted", lambda graphs: graphs.converted, _quantize_in_measured_ranges),
    IntegerPipeline("bias correction", lambda graphs: graphs.bias_corrected, _quantize),
    IntegerPipeline(
        "biases corrected layer by layer", lambda graphs: graphs.bias_corrected, _quantize_layer_by_layer
    ),
    IntegerPipeline(
        "layer by layer, channels equalized", lambda graphs: graphs.equalized, _quantize_layer_by_layer
    ),
    IntegerPipeline(
        "layer by layer, percentile ranges",
        lambda graphs: graphs.bias_corrected,
        _layer_by_layer_percentile,
    ),
    IntegerPipeline(
        "layer by layer, least-error ranges",
        lambda graphs: graphs.bias_corrected,
        _layer_by_layer_least_error,
    ),
    IntegerPipeline(
        "channels equalized, weights rounded by GPTQ",
        lambda graphs: graphs.equalized_and_rounded,
        _layer_by_layer_percentile,
    ),
)
"""The integer-only candidates, in the order in which they are tried."""
