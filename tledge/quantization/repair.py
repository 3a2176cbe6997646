"""Repair an int8 model: try quantization candidates, the cheapest first, on held-out images.

Every candidate is a complete model. In a trial it is held to the parity gates on images that neither
calibrated it nor will verify it; its predictions on images between two classes must agree as often as
those gates ask for, because on photos like its own a model has margins that hide rounding errors. The
first candidate that passes is taken; where none passes, the one that agrees best. None is tried after one
that agrees on all images, where these are too few for any to pass.

The order is by what candidates cost and, as measured, what they gain. Integer-only candidates come
first; those that need float operators or another input type follow where they are allowed, each under
the name of its own mode.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.config import Parity
from tledge.metrics import parity_gates
from tledge.quantization.repair_candidates import QuantizationCandidate, with_bytes
from tledge.runtime.latency import Minimum, percentiles, stream
from tledge.runtime.session_pool import run_on_all_cores
from tledge.runtime.sessions import LiteRTSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMED_IMAGES = 15
"""Images whose median latency is a candidate's."""


@dataclass(frozen=True)
class SelectionSet:
    """What candidates are tried on: images uint8[N, H, W, 3], labels int64[N], class names, gates.

    `between` are images uint8[M, H, W, 3] between two classes, which have no label.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    limits: Parity
    between: NDArray[np.uint8]


@dataclass(frozen=True)
class TrialResult:
    """One candidate on the held-out images: shares in 0..1, `reasons` where its gates are not passed.

    `between` is the agreement on images between two classes, `milliseconds` the median time of one image
    in one thread of LiteRT on this machine, `seconds` the time to make and try the candidate.
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

    @property
    def mean_agreement(self) -> float:
        """Agreement on photos and on images between classes, both weighted alike."""
        return (self.agreement + self.between) / 2


def search_repairs(
    candidates: Iterable[QuantizationCandidate], model: bytes, selection: SelectionSet
) -> tuple[list[QuantizationCandidate], list[TrialResult], int]:
    """Try candidates for a float `.tflite` until one passes.

    Returns the candidates that were tried, their trials, and the position of the one that is taken.
    """
    started = time.monotonic()
    reference = _predictions(with_bytes(model), "the float model", selection)
    tried: list[QuantizationCandidate] = []
    trials: list[TrialResult] = []
    for candidate in candidates:
        trials.append(_trial(candidate, reference, selection, started))
        tried.append(candidate)
        if trials[-1].verdict == "passed" or _lacks_only_images(trials[-1]):
            break
        started = time.monotonic()
    taken = max(range(len(trials)), key=lambda place: _rank(trials[place]))
    return tried, trials, taken


def _lacks_only_images(trial: TrialResult) -> bool:
    """Tell whether a trial agrees on all images, and these are too few to confirm any candidate."""
    return trial.verdict == "undecided" and trial.mean_agreement == 1


def _rank(trial: TrialResult) -> tuple[bool, float]:
    """Order trials: any that passed before any that did not, then by agreement."""
    return trial.verdict == "passed", trial.mean_agreement


Predictions = tuple["NDArray[np.float32]", "NDArray[np.float32]"]
"""Probabilities for the held-out images, and for the images between two classes."""


def _predictions(model: bytes, name: str, selection: SelectionSet) -> Predictions:
    return run_on_all_cores(model, name, selection.images), run_on_all_cores(model, name, selection.between)


def _trial(
    candidate: QuantizationCandidate, reference: Predictions, selection: SelectionSet, started: float
) -> TrialResult:
    """Hold a candidate to the gates that verification will hold it to."""
    predictions = _predictions(candidate.data, candidate.name, selection)
    comparison = parity_gates.compare_predictions(
        selection.labels, reference[0], predictions[0], selection.names
    )
    gate = "fp16" if candidate.mode == "fp16" else "int8"
    verdict, reasons = parity_gates.check_parity(comparison, gate, selection.limits)
    between = _agreement(predictions[1], reference[1])
    required = parity_gates.required_agreement(gate, selection.limits)
    if between < required:
        verdict = "failed"
        reasons = (*reasons, _too_low_between(between, required))
    return TrialResult(
        name=candidate.name,
        mode=candidate.mode,
        accuracy=comparison.accuracy,
        accuracy_change=comparison.accuracy_change,
        agreement=comparison.agreement,
        between=between,
        bytes=len(candidate.data),
        milliseconds=_milliseconds(candidate, selection.images[:TIMED_IMAGES]),
        seconds=round(time.monotonic() - started, 1),
        verdict=verdict,
        reasons=reasons,
        layers=candidate.layers,
    )


def _too_low_between(between: float, required: float) -> str:
    return (
        f"agrees with the float model on {between:.1%} of the images between two classes; "
        f"at least {100 * required:.6g}% is required"
    )


def _agreement(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Compute the share of images with the same predicted class; 1 without images."""
    return float((first.argmax(1) == second.argmax(1)).mean()) if len(first) else 1.0


def _milliseconds(candidate: QuantizationCandidate, images: NDArray[np.uint8]) -> float:
    """Measure the median latency of one image, after a first run that does not count."""
    session = LiteRTSession(candidate.data, candidate.name)
    session.run(images[:1])
    latencies = stream(session, images, Minimum(TIMED_IMAGES, 0), time.perf_counter_ns)
    return round(percentiles(latencies)[0], 3)
