"""Make `.tflite` files: one float conversion, from which every mode follows.

fp16 and dynamic are the converter's own. For integer modes the tensors of the float file are measured on
the calibration set, its biases are corrected, and the converter's quantizer does the rest. A repair job
compares candidates on held-out images instead; the result says of which mode the chosen one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic
from tledge.errors import ConversionError
from tledge.formats.jobs import (
    CalibratedJob,
    CalibrationResult,
    ConversionJob,
    ConversionResult,
    ConversionTarget,
    MixedPrecisionJob,
    QuantizationAwareJob,
    QuantizationAwareResult,
    RepairJob,
    RepairResult,
    UncalibratedJob,
)
from tledge.formats.keras_freezing import float_tflite, quantize_aware_tflite, tensorflow
from tledge.formats.tflite_metadata_writer import write_metadata
from tledge.quantization import calibration_set, selection_images
from tledge.quantization.activation_statistics import TensorSelection, TensorStatistics, measure
from tledge.quantization.bias_correction import correct_biases
from tledge.quantization.repair import SelectionSet, search_repairs
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


def convert(job: ConversionJob) -> ConversionResult:
    """Write the `.tflite` file `job.target.out` with metadata and labels inside.

    Raises:
        DataError: calibration images are empty, no pixels or out of range.
        ConversionError: the converter gives up.
    """
    match job:
        case UncalibratedJob(target):
            _write(target, target.out, with_bytes(float_tflite(Path(target.model), target.mode)))
            return ConversionResult(target.mode)
        case CalibratedJob(target):
            return ConversionResult(target.mode, _convert_to_integers(job))
        case QuantizationAwareJob(target, ranges):
            # The model learned with these ranges in 8 bits: nothing is measured or corrected.
            _write(target, target.out, quantize_aware_tflite(Path(target.model), Path(ranges)))
            return ConversionResult(target.mode, QuantizationAwareResult())
        case RepairJob() | MixedPrecisionJob():
            return _convert_with_trials(job)


def _convert_to_integers(job: CalibratedJob) -> CalibrationResult:
    target = job.target
    images = calibration_set.load(job.calibration_images, target.mode)
    graph = FloatGraph(float_tflite(Path(target.model)))
    inputs = graph.linear_inputs if job.bias_correction else ()
    measured = measure(graph.pack(), images, TensorSelection(graph.activations, inputs))
    stability, corrections = _stability(graph, measured), None
    if job.bias_correction:
        if job.uncorrected:
            _write(target, job.uncorrected, _quantized(graph, measured, images, target.mode))
        corrections = tuple(correct_biases(graph, measured.means))
        measured = measure(graph.pack(), images, TensorSelection(graph.activations))
    _write(target, target.out, _quantized(graph, measured, images, target.mode))
    return CalibrationResult(len(images), stability, corrections)


def _convert_with_trials(job: RepairJob | MixedPrecisionJob) -> ConversionResult:
    """Write the first candidate that passes the gates, or the best; it may be of another mode."""
    target = job.target
    model = float_tflite(Path(target.model))
    images = calibration_set.load(job.calibration_images, target.mode)
    graph, selection = FloatGraph(model), _selection(job)
    measured = measure(model, images, TensorSelection(graph.activations, graph.linear_inputs))
    inputs = RepairInputs(model, images, measured, _to_int8)
    candidates, trials, taken = search_repairs(_candidates(job, inputs, selection), model, selection)
    if isinstance(job, RepairJob):
        _write(target, job.uncorrected, candidates[0].data)
    _write(target, target.out, candidates[taken].data)
    result = RepairResult(
        calibration_images=len(images),
        selection_images=len(selection.images),
        stability=_stability(graph, measured),
        trials=tuple(trials),
        taken=taken,
    )
    return ConversionResult(candidates[taken].mode, result)


def _selection(job: RepairJob | MixedPrecisionJob) -> SelectionSet:
    """Read the images that candidates are compared on."""
    import numpy as np

    with np.load(job.selection_images, allow_pickle=False) as packed:
        images, labels = packed["images"], packed["labels"]
    photos = len(images) // (1 + len(selection_images.CHANGES))  # changed copies of them follow
    between = selection_images.blend_between_classes(images[:photos], labels[:photos])
    return SelectionSet(images, labels, job.target.labels, job.limits, between)


def _candidates(
    job: RepairJob | MixedPrecisionJob, inputs: RepairInputs, selection: SelectionSet
) -> Iterator[QuantizationCandidate]:
    """Yield what to try for a job, cheapest first."""
    if isinstance(job, MixedPrecisionJob):
        yield from mixed_precision_candidates(inputs, selection.images)
        return
    yield from integer_candidates(inputs)
    if job.integer_only:
        return
    path = Path(job.target.model)
    yield from mixed_precision_candidates(inputs, selection.images)
    yield from other_mode_candidates(
        {
            "dynamic": lambda: with_bytes(float_tflite(path, "dynamic")),
            "int16x8": lambda: _to_int16x8(inputs),
            "fp16": lambda: with_bytes(float_tflite(path, "fp16")),
        }
    )


def _to_int16x8(inputs: RepairInputs) -> bytes:
    graph = FloatGraph(inputs.model)
    correct_biases(graph, inputs.statistics.means)
    measured = measure(graph.pack(), inputs.calibration, TensorSelection(graph.activations))
    return _quantized(graph, measured, inputs.calibration, "int16x8")


def _stability(graph: FloatGraph, measured: TensorStatistics) -> dict[str, Any] | None:
    """Compare the ranges of two halves of the calibration images; None for fewer than two images."""
    names = {tensor: graph.name(tensor) for tensor in graph.activations}
    photos = measured.images - calibration_set.BLANKS
    return calibration_set.stability(measured.spans, names, photos)


def _quantized(graph: FloatGraph, measured: TensorStatistics, images: NDArray[np.uint8], mode: str) -> bytes:
    """Quantize the graph to integers only, with byte (int8) or int16 (int16x8) input and output."""
    graph.set_ranges(measured.ranges)
    if mode == "int8":
        return _to_int8(graph.pack())
    with _quantizer_errors_explained():
        return _with_int16_activations(graph.pack(), images[list(measured.extremes)])


@contextmanager
def _quantizer_errors_explained() -> Iterator[None]:
    """Raise ConversionError where a quantizer gives up: they raise bare Exceptions and their own classes."""
    try:
        yield
    except Exception as error:
        raise ConversionError(f"the TFLite quantizer gave up: {error}") from error


def _to_int8(model: bytes, in_float: frozenset[str] = frozenset()) -> bytes:
    """Quantize a float model that contains ranges to integers, with byte input and output.

    Operators whose outputs are named in `in_float` stay in float.
    """
    tf = tensorflow()
    from tensorflow.lite.python.convert import mlir_quantize

    with _quantizer_errors_explained():
        quantized = mlir_quantize(
            model,
            input_data_type=tf.uint8,
            output_data_type=tf.uint8,
            denylisted_nodes=set(in_float) or None,
        )
        return bytes(quantized)


def _with_int16_activations(model: bytes, images: NDArray[np.uint8]) -> bytes:
    """Quantize a float model to int8 weights and int16 activations.

    This quantizer measures ranges itself, so it gets the images uint8[N, H, W, 3] with the extreme values.
    """
    import numpy as np
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    tf = tensorflow()

    def inputs() -> Any:
        for image in images:
            yield [image[None].astype(np.float32)]

    quantized = Calibrator(model).calibrate_and_quantize(
        inputs, tf.int16, tf.int16, allow_float=False, activations_type=tf.int16, bias_type=tf.int64
    )
    graph = FloatGraph(bytes(quantized))
    graph.drop_unused()
    return graph.pack()


def _write(target: ConversionTarget, out: str, model: bytes) -> None:
    """Write a model with the target's texts and labels inside."""
    described = write_metadata(
        model,
        name=target.name,
        description=target.description,
        version=target.version,
        labels=target.labels,
    )
    with atomic.replacing(Path(out)) as path:
        path.write_bytes(described)
