"""Repairing an int8 model: a ladder of remedies, cheapest first, judged on held-out images.

Every rung makes a whole model and is held to the parity gates on images that neither calibrated it
nor will verify it, and its answers to images between two classes to the agreement that those gates ask
for: on photos like its own a model has margins that hide what rounding did. The first rung that passes is
taken; where none does, the one that agrees best.
The order is that of what the remedies cost and, by measurement, bring. Integer-only rungs come
first; what needs floats or another input comes after them, where it is allowed, and under the name
of what it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.config import Parity
from tledge.metrics import parity_gates
from tledge.quantization import mixed_precision, range_rules
from tledge.quantization.activation_statistics import Measured, Wanted, mean_outputs, measure
from tledge.quantization.bias_correction import correct_biases
from tledge.quantization.equalization import equalize
from tledge.quantization.gptq import covariances, round_together
from tledge.quantization.tflite_graph import FloatGraph
from tledge.runtime.latency import Minimum, percentiles, stream
from tledge.runtime.sessions import LiteRTSession, run_on_all_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOME = 32
"""Calibration images for covariances and for means of quantized tensors, which cost more than ranges."""

TIMED = 15
"""Images that a remedy's latency is the median of."""

INTEGER, MIXED = "int8", "mixed"
"""Modes of what the ladder makes itself; other modes are made by the caller."""


@dataclass(frozen=True)
class HeldOut:
    """Images uint8[N, H, W, 3] and labels int64[N] to choose by, names of the classes, the gates.

    `between` are images uint8[M, H, W, 3] between two classes, which have no label.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    limits: Parity
    between: NDArray[np.uint8]


@dataclass(frozen=True)
class RepairInputs:
    """What remedies are made of: the float `.tflite`, calibration images uint8[N, H, W, 3], what its
    tensors hold on these (ranges of all, means of what layers read), the quantizer.
    """

    model: bytes
    calibration: NDArray[np.uint8]
    seen: Measured
    quantize: mixed_precision.Quantize

    @property
    def some(self) -> NDArray[np.uint8]:
        """About `SOME` of the calibration images, evenly taken."""
        return self.calibration[:: max(1, len(self.calibration) // SOME)]


@dataclass(frozen=True)
class QuantizationCandidate:
    """One remedy's model, the mode that it is of, and layers that the remedy is about in particular."""

    name: str
    mode: str
    data: bytes
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialResult:
    """One remedy tried: shares in 0..1 on the held-out images, `reasons` where its gates failed.

    `between` is its agreement on images between two classes, `milliseconds` the median time of one image
    in one thread of this machine's LiteRT.
    """

    name: str
    mode: str
    accuracy: float
    accuracy_change: float
    agreement: float
    between: float
    bytes: int
    milliseconds: float
    seconds: float
    verdict: str
    reasons: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def search_repairs(
    remedies: Iterator[QuantizationCandidate], model: bytes, held_out: HeldOut
) -> tuple[list[QuantizationCandidate], list[TrialResult], int]:
    """Try remedies of a float `.tflite` until one passes; gives all, and the number of the one taken."""
    started = time.monotonic()
    wanted = _answers(with_bytes(model), "the float model", held_out)
    made: list[QuantizationCandidate] = []
    tried: list[TrialResult] = []
    for remedy in remedies:
        tried.append(_judged(remedy, wanted, held_out, started))
        made.append(remedy)
        if tried[-1].verdict == "passed":
            break
        started = time.monotonic()
    taken = max(range(len(tried)), key=lambda one: (tried[one].verdict == "passed", _agreement(tried[one])))
    return made, tried, taken


Answers = tuple["NDArray[np.float32]", "NDArray[np.float32]"]
"""Probabilities for the held-out images, and for those between two classes."""


def _answers(model: bytes, name: str, held_out: HeldOut) -> Answers:
    return run_on_all_cores(model, name, held_out.images), run_on_all_cores(model, name, held_out.between)


def _agreement(rung: TrialResult) -> float:
    """Agreement on photos and between classes, both counted alike."""
    return (rung.agreement + rung.between) / 2


def _judged(remedy: QuantizationCandidate, wanted: Answers, held_out: HeldOut, started: float) -> TrialResult:
    answers = _answers(remedy.data, remedy.name, held_out)
    found = parity_gates.compare_predictions(held_out.labels, wanted[0], answers[0], held_out.names)
    gate = "fp16" if remedy.mode == "fp16" else "int8"  # as verification will hold it
    verdict, reasons = parity_gates.check_parity(found, gate, held_out.limits)
    between, least = _same(answers[1], wanted[1]), parity_gates.required_agreement(gate, held_out.limits)
    if between < least:
        verdict = "failed"
        reasons = (*reasons, f"agreement between classes {between:.4f}, wanted {least:.4g}")
    return TrialResult(
        name=remedy.name,
        mode=remedy.mode,
        accuracy=found.accuracy,
        accuracy_change=found.accuracy_change,
        agreement=found.agreement,
        between=between,
        bytes=len(remedy.data),
        milliseconds=_milliseconds(remedy, held_out.images[:TIMED]),
        seconds=round(time.monotonic() - started, 1),
        verdict=verdict,
        reasons=reasons,
        layers=remedy.layers,
    )


def _same(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Share of images that get the same answer; 1 of none."""
    return float((one.argmax(1) == other.argmax(1)).mean()) if len(one) else 1.0


def _milliseconds(remedy: QuantizationCandidate, images: NDArray[np.uint8]) -> float:
    session = LiteRTSession(remedy.data, remedy.name)
    session.run(images[:1])  # the first is slow
    return round(percentiles(stream(session, images, Minimum(TIMED, 0), time.perf_counter_ns))[0], 3)


def with_bytes(model: bytes) -> bytes:
    """A float-input `.tflite` as one that takes bytes."""
    graph = FloatGraph(model)
    graph.take_bytes()
    return graph.pack()


def integer_only(given: RepairInputs) -> Iterator[QuantizationCandidate]:
    """Remedies that leave nothing but integers in the model, one after the other."""
    graph = FloatGraph(given.model)
    graph.set_ranges(given.seen.ranges)
    yield QuantizationCandidate("as converted", INTEGER, given.quantize(graph.pack(), frozenset()))
    correct_biases(graph, given.seen.means)
    yield QuantizationCandidate("bias correction", INTEGER, _by_rule(graph, given))
    yield QuantizationCandidate("biases corrected layer by layer", INTEGER, _layer_by_layer(graph, given))
    even = FloatGraph(given.model)
    layers = tuple(_equalize(even, given))
    yield QuantizationCandidate("and channels equalized", INTEGER, _layer_by_layer(even, given), layers)
    for name, rule in (("percentile", range_rules.percentile), ("least-error", range_rules.least_error)):
        yield QuantizationCandidate(
            f"layer by layer, {name} ranges", INTEGER, _layer_by_layer(graph, given, rule)
        )
    _round(even, given)
    data = _layer_by_layer(even, given, range_rules.percentile)
    yield QuantizationCandidate("equalized channels, weights rounded together", INTEGER, data, layers)


def layers_in_float(given: RepairInputs, held_out: HeldOut) -> Iterator[QuantizationCandidate]:
    """More and more layers left in float, those first that bring most; the rest with biases corrected."""
    plain = FloatGraph(given.model)
    correct_biases(plain, given.seen.means)
    _set_ranges(plain, given, range_rules.percentile)
    wanted = run_on_all_cores(
        with_bytes(given.model), "the float model", mixed_precision.few(held_out.images)
    )
    best = mixed_precision.ranked(plain.pack(), given.quantize, mixed_precision.few(held_out.images), wanted)
    for chosen in mixed_precision.more_and_more(plain, best):
        graph = FloatGraph(given.model)
        correct_biases(graph, given.seen.means, besides=chosen)
        _set_ranges(graph, given, range_rules.percentile)
        data = given.quantize(graph.pack(), chosen)
        yield QuantizationCandidate(f"{len(chosen)} operators in float", MIXED, data, tuple(sorted(chosen)))


def others(makers: Mapping[str, Callable[[], bytes]]) -> Iterator[QuantizationCandidate]:
    """What other modes would be, in the order given: by mode, a function that makes its model."""
    names = {
        "dynamic": "integer weights, float activations",
        "int16x8": "16-bit activations",
        "fp16": "float16 weights",
    }
    for mode, make in makers.items():
        yield QuantizationCandidate(names[mode], mode, make())


def _by_rule(graph: FloatGraph, given: RepairInputs, rule: range_rules.Rule | None = None) -> bytes:
    _set_ranges(graph, given, rule)
    return given.quantize(graph.pack(), frozenset())


def _set_ranges(graph: FloatGraph, given: RepairInputs, rule: range_rules.Rule | None) -> None:
    """Note the ranges that a rule makes of what is seen, or all that is seen."""
    own = tuple(one for one in graph.activations if one not in graph.inputs) if rule else ()
    found = measure(graph.pack(), given.calibration, Wanted(graph.activations, sampled=own))
    graph.set_ranges(range_rules.chosen(rule, found.samples, found.ranges) if rule else found.ranges)


def _layer_by_layer(graph: FloatGraph, given: RepairInputs, rule: range_rules.Rule | None = None) -> bytes:
    """Correct one bias after the other, from the input on, by what the quantized layer gives on average.

    Each layer is measured behind those that are corrected already: all at once, an error would be taken
    off where it arises and again in every layer behind it. Unlike the analytic correction this sees what
    8-bit activations do (empirical bias correction; Nagel et al. 2019, section 4.2).
    """
    names = [one.name for one in graph.linears]
    wanted = mean_outputs(graph.pack(), given.some, names)
    trial = FloatGraph(graph.pack())
    _set_ranges(trial, given, rule)
    for one in trial.linears:
        found = mean_outputs(given.quantize(trial.pack(), frozenset()), given.some, [one.name])
        if one.name in found:
            trial.set_bias(one, trial.bias(one) + wanted[one.name] - found[one.name])
    return given.quantize(trial.pack(), frozenset())


def _equalize(graph: FloatGraph, given: RepairInputs) -> list[str]:
    outputs = tuple(one.output for one in graph.linears)
    return equalize(graph, measure(graph.pack(), given.calibration, Wanted(spread=outputs)).largest)


def _round(graph: FloatGraph, given: RepairInputs) -> None:
    kernels = {one.name: graph.values(one.weights).shape for one in graph.linears}
    round_together(graph, covariances(graph.pack(), given.some, graph.linears, kernels))
