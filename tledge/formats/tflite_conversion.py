"""Making `.tflite` files: one float conversion, from which every mode follows.

fp16 and dynamic are the converter's own. Integer modes take the float file, measure its tensors
on the calibration set, correct biases in it, and hand it to the converter's quantizer. Where repair
is asked for, remedies are tried on held-out images instead, and the mode of what they end in is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic
from tledge.config import Parity
from tledge.errors import ConversionError, DataError
from tledge.formats import tflite_metadata
from tledge.formats.base import MODE, ConversionJob
from tledge.formats.keras_freezing import float_tflite, quantize_aware_tflite, tensorflow
from tledge.quantization import calibration_set, selection_images
from tledge.quantization.activation_statistics import Measured, Wanted, measure
from tledge.quantization.bias_correction import correct_biases
from tledge.quantization.repair import HeldOut, search_repairs
from tledge.quantization.repair_candidates import (
    QuantizationCandidate,
    RepairInputs,
    integer_candidates,
    mixed_precision_candidates,
    other_mode_candidates,
    with_bytes,
)
from tledge.quantization.tflite_graph import FloatGraph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def convert(job: ConversionJob) -> dict[str, Any]:
    """Write the `.tflite` file `job.out` with metadata and labels inside.

    Raises DataError for calibration images that are missing, empty or out of range, and
    ConversionError where the converter gives up.
    """
    if job.ranges:
        return _quantize_aware(job, Path(job.ranges))
    if job.mode == "mixed" or job.held_out:
        return _repaired(job)
    if job.mode in ("int8", "int16x8"):
        return _integer(job)
    _write(job, job.out, with_bytes(float_tflite(Path(job.model), job.mode)))
    return {}


def _integer(job: ConversionJob) -> dict[str, Any]:
    images = calibration_set.load(job.calibration, job.mode)
    graph = FloatGraph(float_tflite(Path(job.model)))
    inputs = graph.linear_inputs if job.bias_correction else ()
    measured = measure(graph.pack(), images, Wanted(graph.activations, inputs))
    details: dict[str, Any] = {"calibration_images": len(images), **_stability(graph, measured)}
    if job.bias_correction:
        if job.uncorrected:
            _write(job, job.uncorrected, _quantized(graph, measured, images, job.mode))
        details["bias_correction"] = [asdict(one) for one in correct_biases(graph, measured.means)]
        measured = measure(graph.pack(), images, Wanted(graph.activations))
    _write(job, job.out, _quantized(graph, measured, images, job.mode))
    return details


def _quantize_aware(job: ConversionJob, ranges: Path) -> dict[str, Any]:
    """The network that was trained in 8 bits: ranges from training, and no correction on top of it."""
    _write(job, job.out, quantize_aware_tflite(Path(job.model), ranges))
    return {"quantize_aware": True}


def _repaired(job: ConversionJob) -> dict[str, Any]:
    """Climb the ladder; what it ends in may be of another mode, which the caller files it under."""
    model, images = float_tflite(Path(job.model)), calibration_set.load(job.calibration, job.mode)
    graph, held_out = FloatGraph(model), _held_out(job)
    seen = measure(model, images, Wanted(graph.activations, graph.linear_inputs))
    given = RepairInputs(model, images, seen, _to_int8)
    made, rungs, taken = search_repairs(_remedies(job, given, held_out), given.model, held_out)
    if job.uncorrected:
        _write(job, job.uncorrected, made[0].data)
    _write(job, job.out, made[taken].data)
    return {
        MODE: made[taken].mode,
        **_stability(graph, seen),
        "calibration_images": len(given.calibration),
        "held_out_images": len(held_out.images),
        "repair": rungs[taken].name,
        "rungs": [asdict(one) for one in rungs],
    }


def _held_out(job: ConversionJob) -> HeldOut:
    import numpy as np

    if job.held_out is None:
        raise DataError(f"{job.mode}: no held-out images; what to leave in float is chosen by them.")
    with np.load(job.held_out, allow_pickle=False) as packed:
        images, labels = packed["images"], packed["labels"]
    photos = len(images) // (1 + len(selection_images.CHANGES))  # copies of them follow
    between = selection_images.between(images[:photos], labels[:photos])
    return HeldOut(images, labels, job.labels, Parity(**job.limits), between)


def _remedies(job: ConversionJob, given: RepairInputs, held_out: HeldOut) -> Iterator[QuantizationCandidate]:
    if job.mode == "mixed":
        yield from mixed_precision_candidates(given, held_out.images)
        return
    yield from integer_candidates(given)
    if job.integer_only:
        return
    yield from mixed_precision_candidates(given, held_out.images)
    yield from other_mode_candidates(
        {
            "dynamic": lambda: with_bytes(float_tflite(Path(job.model), "dynamic")),
            "int16x8": lambda: _sixteen_bit(given),
            "fp16": lambda: with_bytes(float_tflite(Path(job.model), "fp16")),
        }
    )


def _sixteen_bit(given: RepairInputs) -> bytes:
    graph = FloatGraph(given.model)
    correct_biases(graph, given.statistics.means)
    measured = measure(graph.pack(), given.calibration, Wanted(graph.activations))
    return _quantized(graph, measured, given.calibration, "int16x8")


def _stability(graph: FloatGraph, measured: Measured) -> dict[str, Any]:
    """How steady the ranges are, under the name it has in an artifact's details."""
    names = {one: graph.name(one) for one in graph.activations}
    found = calibration_set.stability(measured.spans, names, measured.images - calibration_set.BLANKS)
    return {"stability": found} if found else {}


def _quantized(graph: FloatGraph, measured: Measured, images: NDArray[np.uint8], mode: str) -> bytes:
    """Integers only, with byte (int8) or int16 input and output."""
    graph.set_ranges(measured.ranges)
    if mode == "int8":
        return _to_int8(graph.pack())
    with _giving_up():
        return _wide(graph.pack(), images[list(measured.extremes)])


@contextmanager
def _giving_up() -> Iterator[None]:
    """The quantizers raise bare Exceptions and their own classes."""
    try:
        yield
    except Exception as error:
        raise ConversionError(f"the TFLite quantizer gave up: {error}") from error


def _to_int8(model: bytes, in_float: frozenset[str] = frozenset()) -> bytes:
    """A float model with ranges in it as integers, with byte input and output.

    Operators whose outputs are named in `in_float` are left as they are.
    """
    tf = tensorflow()
    from tensorflow.lite.python.convert import mlir_quantize

    with _giving_up():
        made = mlir_quantize(
            model,
            input_data_type=tf.uint8,
            output_data_type=tf.uint8,
            denylisted_nodes=set(in_float) or None,
        )
        return bytes(made)


def _wide(model: bytes, images: NDArray[np.uint8]) -> bytes:
    """int16 activations: this quantizer measures ranges itself, so it gets the images that hold them."""
    import numpy as np
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    tf = tensorflow()

    def fed() -> Any:
        for image in images:
            yield [image[None].astype(np.float32)]

    made = Calibrator(model).calibrate_and_quantize(
        fed, tf.int16, tf.int16, allow_float=False, activations_type=tf.int16, bias_type=tf.int64
    )
    graph = FloatGraph(bytes(made))
    graph.drop_unused()
    return graph.pack()


def _write(job: ConversionJob, out: str, data: bytes) -> None:
    data = tflite_metadata.write_metadata(
        data, name=job.name, description=job.description, version=job.version, labels=job.labels
    )
    with atomic.replacing(Path(out)) as made:
        made.write_bytes(data)
