"""Repairing an int8 model: a ladder of remedies, cheapest first, judged on held-out images.

Every rung makes a whole model and is held to the parity gates on images that neither calibrated it
nor will verify it. The first rung that passes is taken; where none does, the one that agrees best.
The order is that of what the remedies cost and, by measurement, bring. Integer-only rungs come
first; what needs floats or another input comes after them, where it is allowed, and under the name
of what it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge import gates, mixed, ranges
from tledge.bench_worker import Minimum, percentiles, stream
from tledge.calibration import Measured, Wanted, mean_outputs, measure
from tledge.equalization import equalize
from tledge.float_graph import FloatGraph
from tledge.quantization import correct_biases
from tledge.rounding import covariances, round_together
from tledge.runtime import LiteRTSession, run_on_all_cores
from tledge.tables import Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOME = 32
"""Calibration images for covariances and for means of quantized tensors, which cost more than ranges."""

ROUNDS = 2
"""How often biases are corrected again with everything quantized: what is behind an activation
responds less than it should."""

TIMED = 15
"""Images that a remedy's latency is the median of."""

INTEGER, MIXED = "int8", "mixed"
"""Modes of what the ladder makes itself; other modes are made by the caller."""


@dataclass(frozen=True)
class HeldOut:
    """Images uint8[N, H, W, 3] and labels int64[N] to choose by, names of the classes, the gates."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    limits: Parity


@dataclass(frozen=True)
class Material:
    """What remedies are made of: the float `.tflite`, calibration images uint8[N, H, W, 3], what its
    tensors hold on these (ranges of all, means of what layers read), the quantizer.
    """

    model: bytes
    calibration: NDArray[np.uint8]
    seen: Measured
    quantize: mixed.Quantize

    @property
    def some(self) -> NDArray[np.uint8]:
        """About `SOME` of the calibration images, evenly taken."""
        return self.calibration[:: max(1, len(self.calibration) // SOME)]


@dataclass(frozen=True)
class Remedy:
    """One remedy's model, the mode that it is of, and layers that the remedy is about in particular."""

    name: str
    mode: str
    data: bytes
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rung:
    """One remedy tried: shares in 0..1 on the held-out images, `reasons` where its gates failed.

    `milliseconds` is the median time of one image in one thread of this machine's LiteRT.
    """

    name: str
    mode: str
    accuracy: float
    accuracy_change: float
    agreement: float
    bytes: int
    milliseconds: float
    seconds: float
    verdict: str
    reasons: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def climb(
    remedies: Iterator[Remedy], model: bytes, held_out: HeldOut
) -> tuple[list[Remedy], list[Rung], int]:
    """Try remedies of a float `.tflite` until one passes; gives all, and the number of the one taken."""
    wanted = run_on_all_cores(with_bytes(model), "the float model", held_out.images)
    made: list[Remedy] = []
    tried: list[Rung] = []
    started = time.monotonic()
    for remedy in remedies:
        tried.append(_judged(remedy, wanted, held_out, started))
        made.append(remedy)
        if tried[-1].verdict == "passed":
            break
        started = time.monotonic()
    taken = max(range(len(tried)), key=lambda one: (tried[one].verdict == "passed", tried[one].agreement))
    return made, tried, taken


def _judged(remedy: Remedy, wanted: NDArray[np.float32], held_out: HeldOut, started: float) -> Rung:
    answers = run_on_all_cores(remedy.data, remedy.name, held_out.images)
    found = gates.compare(held_out.labels, wanted, answers, held_out.names)
    gate = "fp16" if remedy.mode == "fp16" else "int8"  # as verification will hold it
    verdict, reasons = gates.judge(found, gate, held_out.limits)
    return Rung(
        name=remedy.name,
        mode=remedy.mode,
        accuracy=found.accuracy,
        accuracy_change=found.change,
        agreement=found.agreement,
        bytes=len(remedy.data),
        milliseconds=_milliseconds(remedy, held_out.images[:TIMED]),
        seconds=round(time.monotonic() - started, 1),
        verdict=verdict,
        reasons=reasons,
        layers=remedy.layers,
    )


def _milliseconds(remedy: Remedy, images: NDArray[np.uint8]) -> float:
    session = LiteRTSession(remedy.data, remedy.name)
    session.run(images[:1])  # the first is slow
    return round(percentiles(stream(session, images, Minimum(TIMED, 0), time.perf_counter_ns))[0], 3)


def with_bytes(model: bytes) -> bytes:
    """A float-input `.tflite` as one that takes bytes."""
    graph = FloatGraph(model)
    graph.take_bytes()
    return graph.pack()


def integer_only(given: Material) -> Iterator[Remedy]:
    """Remedies that leave nothing but integers in the model, one after the other."""
    graph = FloatGraph(given.model)
    graph.set_ranges(given.seen.ranges)
    yield Remedy("as converted", INTEGER, given.quantize(graph.pack(), frozenset()))
    correct_biases(graph, given.seen.means)
    yield Remedy("bias correction", INTEGER, _by_rule(graph, given))
    yield Remedy("and percentile ranges", INTEGER, _by_rule(graph, given, ranges.percentile))
    data = _corrected_again(graph, given, ranges.percentile)
    yield Remedy("and biases corrected with all quantized", INTEGER, data)
    yield Remedy("and least-error ranges", INTEGER, _corrected_again(graph, given, ranges.least_error))
    graph = FloatGraph(given.model)
    layers = _equalize(graph, given)
    _round(graph, given)
    _correct(graph, given)
    data = _corrected_again(graph, given, ranges.percentile)
    yield Remedy("equalized channels, weights rounded together", INTEGER, data, tuple(layers))


def layers_in_float(given: Material, held_out: HeldOut) -> Iterator[Remedy]:
    """More and more layers left in float, those first that bring most; the rest with biases corrected."""
    plain = FloatGraph(given.model)
    correct_biases(plain, given.seen.means)
    _set_ranges(plain, given, ranges.percentile)
    wanted = run_on_all_cores(with_bytes(given.model), "the float model", mixed.few(held_out.images))
    best = mixed.ranked(plain.pack(), given.quantize, mixed.few(held_out.images), wanted)
    for chosen in mixed.more_and_more(plain, best):
        graph = FloatGraph(given.model)
        correct_biases(graph, given.seen.means, besides=chosen)
        _set_ranges(graph, given, ranges.percentile)
        data = given.quantize(graph.pack(), chosen)
        yield Remedy(f"{len(chosen)} operators in float", MIXED, data, tuple(sorted(chosen)))


def others(makers: Mapping[str, Callable[[], bytes]]) -> Iterator[Remedy]:
    """What other modes would be, in the order given: by mode, a function that makes its model."""
    names = {
        "dynamic": "integer weights, float activations",
        "int16x8": "16-bit activations",
        "fp16": "float16 weights",
    }
    for mode, make in makers.items():
        yield Remedy(names[mode], mode, make())


def _correct(graph: FloatGraph, given: Material) -> None:
    """Correct the biases of a graph that is not the float model any more, whose means are its own."""
    means = measure(graph.pack(), given.calibration, Wanted(averaged=graph.linear_inputs)).means
    correct_biases(graph, means)


def _by_rule(graph: FloatGraph, given: Material, rule: ranges.Rule | None = None) -> bytes:
    _set_ranges(graph, given, rule)
    return given.quantize(graph.pack(), frozenset())


def _set_ranges(graph: FloatGraph, given: Material, rule: ranges.Rule | None) -> None:
    """Note the ranges that a rule makes of what is seen, or all that is seen."""
    own = tuple(one for one in graph.activations if one not in graph.inputs) if rule else ()
    found = measure(graph.pack(), given.calibration, Wanted(graph.activations, sampled=own))
    graph.set_ranges(ranges.chosen(rule, found.samples, found.ranges) if rule else found.ranges)


def _corrected_again(graph: FloatGraph, given: Material, rule: ranges.Rule) -> bytes:
    """Correct biases by what the quantized model's layers give on average, and quantize again."""
    names = [one.name for one in graph.linears]
    wanted = mean_outputs(graph.pack(), given.some, names)
    trial = FloatGraph(graph.pack())
    for _ in range(ROUNDS):
        found = mean_outputs(_by_rule(trial, given, rule), given.some, names)
        for one in trial.linears:
            if one.name in found:
                trial.set_bias(one, trial.bias(one) + wanted[one.name] - found[one.name])
    return _by_rule(trial, given, rule)


def _equalize(graph: FloatGraph, given: Material) -> list[str]:
    outputs = tuple(one.output for one in graph.linears)
    return equalize(graph, measure(graph.pack(), given.calibration, Wanted(spread=outputs)).largest)


def _round(graph: FloatGraph, given: Material) -> None:
    kernels = {one.name: graph.values(one.weights).shape for one in graph.linears}
    round_together(graph, covariances(graph.pack(), given.some, graph.linears, kernels))
