"""Making `.tflite` files: one float conversion, from which every mode follows.

fp16 and dynamic are the converter's own. Integer modes take the float file, measure its tensors
on the calibration set, correct biases in it, and hand it to the converter's quantizer.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import runs, tflite_metadata
from tledge.calibration import Measured, Wanted, measure
from tledge.errors import ConversionError, DataError
from tledge.float_graph import FloatGraph
from tledge.formats.base import Job
from tledge.formats.frozen import float_tflite, quantize_aware_tflite, tensorflow
from tledge.ladder import HeldOut, climb
from tledge.quantization import correct_biases
from tledge.tables import Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def convert(job: Job) -> dict[str, Any]:
    """Write the `.tflite` file `job.out` with metadata and labels inside.

    Raises DataError for calibration images that are missing, empty or out of range, and
    ConversionError where the converter gives up.
    """
    if job.ranges:
        return _quantize_aware(job, Path(job.ranges))
    if job.mode in ("int8", "int16x8"):
        return _integer(job)
    graph = FloatGraph(float_tflite(Path(job.model), job.mode))
    graph.take_bytes()
    _write(job, job.out, graph.pack())
    return {}


def _integer(job: Job) -> dict[str, Any]:
    images = calibration_images(job)
    graph = FloatGraph(float_tflite(Path(job.model)))
    if job.held_out and job.mode == "int8":
        return _repaired(job, graph.pack(), images)
    inputs = tuple(dict.fromkeys(one.input for one in graph.linears)) if job.bias_correction else ()
    measured = measure(graph.pack(), images, Wanted(graph.activations, inputs))
    details: dict[str, Any] = {"calibration_images": len(images)}
    if job.bias_correction:
        if job.uncorrected:
            _write(job, job.uncorrected, _quantized(graph, measured, images, job.mode))
        details["bias_correction"] = [asdict(one) for one in correct_biases(graph, measured.means)]
        measured = measure(graph.pack(), images, Wanted(graph.activations))
    _write(job, job.out, _quantized(graph, measured, images, job.mode))
    return details


def _quantize_aware(job: Job, ranges: Path) -> dict[str, Any]:
    """The network that was trained in 8 bits: ranges from training, and no correction on top of it."""
    _write(job, job.out, quantize_aware_tflite(Path(job.model), ranges))
    return {"quantize_aware": True}


def _repaired(job: Job, model: bytes, images: NDArray[np.uint8]) -> dict[str, Any]:
    """Climb the ladder; the first rung is the conversion without any remedy."""
    import numpy as np

    with np.load(str(job.held_out), allow_pickle=False) as packed:
        held_out = HeldOut(packed["images"], packed["labels"], job.labels, Parity(**job.limits))
    made, rungs, taken = climb(model, images, held_out, _to_int8)
    if job.uncorrected:
        _write(job, job.uncorrected, made[0])
    _write(job, job.out, made[taken])
    return {
        "calibration_images": len(images),
        "held_out_images": len(held_out.images),
        "repair": rungs[taken].name,
        "rungs": [asdict(one) for one in rungs],
    }


def calibration_images(job: Job) -> NDArray[np.uint8]:
    """Calibration images uint8[N, H, W, 3] with one all-0 and one all-255 image added.

    The two make the input range exactly 0..255, so that a byte is its own quantized value.
    Raises DataError where there are none: the converter would write a float model and say
    nothing.
    """
    import numpy as np

    if job.calibration is None:
        raise DataError(f"{job.mode}: no calibration set; an int8 model cannot be made without one.")
    images = np.load(job.calibration, allow_pickle=False)
    if images.ndim != 4 or not len(images) or images.dtype != np.uint8:
        raise DataError(
            f"{job.mode}: the calibration set holds {len(images)} images of {images.dtype}; "
            "expected at least one, as uint8 pixels. Set [export.calibration] images."
        )
    blank = np.zeros_like(images[:1])
    return np.concatenate([images, blank, blank + np.uint8(255)])


def _quantized(graph: FloatGraph, measured: Measured, images: NDArray[np.uint8], mode: str) -> bytes:
    """Integers only, with byte (int8) or int16 input and output."""
    tf = tensorflow()
    graph.set_ranges(measured.ranges)
    try:
        if mode == "int8":
            return _to_int8(graph.pack())
        return _wide(tf, graph.pack(), images[list(measured.extremes)])
    except Exception as error:  # the quantizers raise bare Exceptions and their own classes
        raise ConversionError(f"the TFLite quantizer gave up: {error}") from error


def _to_int8(model: bytes) -> bytes:
    """A float model with ranges in it as integers only, with byte input and output."""
    tf = tensorflow()
    from tensorflow.lite.python.convert import mlir_quantize

    return bytes(mlir_quantize(model, input_data_type=tf.uint8, output_data_type=tf.uint8))


def _wide(tf: Any, model: bytes, images: NDArray[np.uint8]) -> bytes:
    """int16 activations: this quantizer measures ranges itself, so it gets the images that hold them."""
    import numpy as np
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    def fed() -> Any:
        for image in images:
            yield [image[None].astype(np.float32)]

    made = Calibrator(model).calibrate_and_quantize(
        fed, tf.int16, tf.int16, allow_float=False, activations_type=tf.int16, bias_type=tf.int64
    )
    return bytes(made)


def _write(job: Job, out: str, data: bytes) -> None:
    data = tflite_metadata.write_metadata(
        data, name=job.name, description=job.description, version=job.version, labels=job.labels
    )
    with runs.replacing(Path(out)) as made:
        made.write_bytes(data)
