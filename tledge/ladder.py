"""Repairing an int8 model: a ladder of remedies, cheapest first, judged on held-out images.

Every rung makes a whole integer model and is held to the parity gates on images that neither
calibrated it nor will verify it. The first rung that passes is taken; where none does, the one
that agrees best. The order is that of what the remedies cost and, by measurement, bring.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tledge import gates, ranges
from tledge.calibration import Wanted, mean_outputs, measure
from tledge.equalization import equalize
from tledge.float_graph import FloatGraph
from tledge.quantization import correct_biases
from tledge.rounding import covariances, round_together
from tledge.runtime import run_on_all_cores
from tledge.tables import Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOME = 32
"""Calibration images for covariances and for means of quantized tensors, which cost more than ranges."""

ROUNDS = 2
"""How often biases are corrected again with everything quantized: what is behind an activation
responds less than it should."""

Quantize = Callable[[bytes], bytes]
"""Float `.tflite` with ranges in it → integer `.tflite`."""


@dataclass(frozen=True)
class HeldOut:
    """Images uint8[N, H, W, 3] and labels int64[N] to choose by, names of the classes, the gates."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    limits: Parity


@dataclass(frozen=True)
class Rung:
    """One remedy tried: shares in 0..1 on the held-out images, `reasons` where its gates failed."""

    name: str
    accuracy: float
    accuracy_change: float
    agreement: float
    bytes: int
    seconds: float
    verdict: str
    reasons: tuple[str, ...] = ()
    layers: tuple[str, ...] = field(default=())
    """Layers that the remedy changed in particular, where it is about some and not all."""


def climb(
    model: bytes, calibration: NDArray[np.uint8], held_out: HeldOut, quantize: Quantize
) -> tuple[list[bytes], list[Rung], int]:
    """Try remedies on a float `.tflite`; gives all models made, their rungs, the number of the one taken."""
    wanted = _answers(_with_bytes(model), held_out)
    made: list[bytes] = []
    tried: list[Rung] = []
    started = time.monotonic()
    for name, data, layers in remedies(model, calibration, quantize):
        found = gates.compare(held_out.labels, wanted, _answers(data, held_out), held_out.names)
        verdict, reasons = gates.judge(found, "int8", held_out.limits)
        seconds, started = round(time.monotonic() - started, 1), time.monotonic()
        figures = (found.accuracy, found.change, found.agreement, len(data), seconds)
        tried.append(Rung(name, *figures, verdict, reasons, layers))
        made.append(data)
        if verdict == "passed":
            break
    taken = max(range(len(tried)), key=lambda one: (tried[one].verdict == "passed", tried[one].agreement))
    return made, tried, taken


def _with_bytes(model: bytes) -> bytes:
    graph = FloatGraph(model)
    graph.take_bytes()
    return graph.pack()


def _answers(model: bytes, held_out: HeldOut) -> NDArray[np.float32]:
    return run_on_all_cores(model, "a remedy", held_out.images)


def remedies(
    model: bytes, calibration: NDArray[np.uint8], quantize: Quantize
) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """Name, integer model, and layers in particular, of one remedy after the other."""
    graph = FloatGraph(model)
    yield "as converted", _by_rule(graph, calibration, quantize), ()
    _correct(graph, calibration)
    yield "bias correction", _by_rule(graph, calibration, quantize), ()
    yield "and percentile ranges", _by_rule(graph, calibration, quantize, ranges.percentile), ()
    data = _corrected_again(graph, calibration, quantize, ranges.percentile)
    yield "and biases corrected with all quantized", data, ()
    yield "and least-error ranges", _corrected_again(graph, calibration, quantize, ranges.least_error), ()
    graph = FloatGraph(model)
    layers = _equalize(graph, calibration)
    _round(graph, calibration)
    _correct(graph, calibration)
    data = _corrected_again(graph, calibration, quantize, ranges.percentile)
    yield "equalized channels, weights rounded together", data, tuple(layers)


def _correct(graph: FloatGraph, calibration: NDArray[np.uint8]) -> None:
    inputs = tuple(dict.fromkeys(one.input for one in graph.linears))
    correct_biases(graph, measure(graph.pack(), calibration, Wanted(averaged=inputs)).means)


def _by_rule(
    graph: FloatGraph,
    calibration: NDArray[np.uint8],
    quantize: Quantize,
    rule: ranges.Rule | None = None,
) -> bytes:
    """Quantize with the ranges that a rule makes of what is seen, or with all that is seen."""
    own = tuple(one for one in graph.activations if one not in graph.inputs) if rule else ()
    found = measure(graph.pack(), calibration, Wanted(graph.activations, sampled=own))
    graph.set_ranges(ranges.chosen(rule, found.samples, found.ranges) if rule else found.ranges)
    return quantize(graph.pack())


def _corrected_again(
    graph: FloatGraph, calibration: NDArray[np.uint8], quantize: Quantize, rule: ranges.Rule
) -> bytes:
    """Correct biases by what the quantized model's layers give on average, and quantize again."""
    some = calibration[:: max(1, len(calibration) // SOME)]
    names = [one.name for one in graph.linears]
    wanted = mean_outputs(graph.pack(), some, names)
    trial = FloatGraph(graph.pack())
    for _ in range(ROUNDS):
        found = mean_outputs(_by_rule(trial, calibration, quantize, rule), some, names)
        for one in trial.linears:
            if one.name in found:
                trial.set_bias(one, trial.bias(one) + wanted[one.name] - found[one.name])
    return _by_rule(trial, calibration, quantize, rule)


def _equalize(graph: FloatGraph, calibration: NDArray[np.uint8]) -> list[str]:
    outputs = tuple(one.output for one in graph.linears)
    return equalize(graph, measure(graph.pack(), calibration, Wanted(spread=outputs)).largest)


def _round(graph: FloatGraph, calibration: NDArray[np.uint8]) -> None:
    some = calibration[:: max(1, len(calibration) // SOME)]
    kernels = {one.name: graph.values(one.weights).shape for one in graph.linears}
    round_together(graph, covariances(graph.pack(), some, graph.linears, kernels))
