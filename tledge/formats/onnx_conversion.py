"""Making `.onnx` files: one float conversion, from which every mode follows.

fp16 stores weights in half precision, int8 is ONNX Runtime's quantizer with biases corrected first.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from tledge import contract
from tledge._io import atomic, files
from tledge._process import optional_imports
from tledge._version import __version__
from tledge.errors import ConversionError
from tledge.formats.base import KERNEL_SIZE
from tledge.formats.jobs import (
    CalibratedJob,
    CalibrationResult,
    ConversionJob,
    ConversionResult,
    ConversionTarget,
    UncalibratedJob,
)
from tledge.formats.keras_freezing import keras_model, tensorflow
from tledge.quantization import calibration_set
from tledge.quantization.onnx_int8 import correct_biases, folded, quantize

OPSET = 17


def convert(job: ConversionJob) -> ConversionResult:
    """Write the ONNX file `job.target.out` with canonical names, so that equal models give equal bytes.

    Raises:
        DataError: calibration images are empty or no pixels.
        ConversionError: the quantizer gives up, the result is no valid ONNX, or ONNX has no such job.
    """
    if isinstance(job, CalibratedJob):
        return ConversionResult(job.target.mode, _convert_to_int8(job), opset=OPSET)
    if not isinstance(job, UncalibratedJob):
        raise ConversionError(f"ONNX has no {type(job).__name__}; expected UncalibratedJob or CalibratedJob.")
    model = _float_model(job.target)
    if job.target.mode == "fp16":
        model = folded(model)
        halve(model)
    _write(job.target, job.target.out, model)
    return ConversionResult(job.target.mode, opset=OPSET)


def _convert_to_int8(job: CalibratedJob) -> CalibrationResult:
    images = calibration_set.load(job.calibration_images, job.target.mode)
    model = folded(_float_model(job.target))
    corrections = None
    if job.bias_correction:
        if job.uncorrected:
            _write(job.target, job.uncorrected, quantize(model, images))
        corrections = tuple(correct_biases(model, images[: -calibration_set.BLANKS]))
    _write(job.target, job.target.out, quantize(model, images))
    return CalibrationResult(len(images), corrections=corrections)


def _float_model(target: ConversionTarget) -> Any:
    """Return a copy of the float32 model with canonical names."""
    onnx = optional_imports.load("onnx", "export")
    path = Path(target.model)
    return onnx.ModelProto.FromString(_converted(path, files.sha256(path)))


@lru_cache(maxsize=1)
def _converted(path: Path, sha256: str) -> bytes:
    """The model as tf2onnx makes it, under canonical names; kept for the other modes."""
    del sha256  # the file may have changed under the same name
    tf = tensorflow()
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "0")
    tf2onnx = optional_imports.load("tf2onnx", "export")
    net = keras_model(path)
    height, width = net.input_shape[1:3]
    spec = tf.TensorSpec((None, height, width, 3), tf.uint8, contract.INPUT_NAME)
    function = tf.function(
        lambda image: net(tf.cast(image, tf.float32), training=False),
        input_signature=[spec],
    )
    made, _ = tf2onnx.convert.from_function(function, [spec], opset=OPSET)
    _rename(made.graph)
    return bytes(made.SerializeToString(deterministic=True))


def halve(model: Any) -> None:
    """Store weights in float16, each with a Cast to float32 behind it, in place.

    ONNX Runtime folds those casts when it loads the file, so that it runs as fast and on as many
    processors as float32. Half precision throughout needs kernels that its CPU side mostly lacks:
    there it would cast before and after every operator.
    """
    import numpy as np

    onnx = optional_imports.load("onnx", "export")
    casts = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= KERNEL_SIZE:
            stored = f"{weight.name}_half"
            casts.append(onnx.helper.make_node("Cast", [stored], [weight.name], to=onnx.TensorProto.FLOAT))
            weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), stored))
    _replace(model.graph.node, [*casts, *model.graph.node])


def _write(target: ConversionTarget, out: str, made: Any) -> None:
    onnx = optional_imports.load("onnx", "export")
    _rename(made.graph)
    _describe(onnx, made, target)
    try:
        onnx.checker.check_model(made, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"the ONNX model is not valid: {error}") from error
    with atomic.replacing(Path(out)) as path:
        path.write_bytes(made.SerializeToString(deterministic=True))


def _rename(graph: Any) -> None:
    """Number all names in the order of the graph; tf2onnx's carry counters of the process.

    Constants that nothing reads are dropped.
    """
    names = {graph.input[0].name: contract.INPUT_NAME, graph.output[0].name: contract.OUTPUT_NAME}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}_{number}"
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{place}")
    places = _first_uses(graph)
    used = [weight for weight in graph.initializer if weight.name in places]
    weights = sorted(used, key=lambda one: places[one.name])
    for number, weight in enumerate(weights):
        names[weight.name] = f"constant_{number}"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for weight in weights:
        weight.name = names[weight.name]
    _replace(graph.initializer, weights)
    for port in (*graph.input, *graph.output):
        port.name = names[port.name]
    graph.ClearField("value_info")
    graph.name = "tledge"


def _first_uses(graph: Any) -> dict[str, tuple[int, int]]:
    """For every name that a node reads: number of the first such node, and place among its inputs."""
    places: dict[str, tuple[int, int]] = {}
    for number, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            places.setdefault(name, (number, place))
    return places


def _replace(field: Any, values: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _contract(port: Any) -> str:
    """The manifest's words for what the model takes and gives, as JSON, for a file that left its bundle."""
    sides = [side.dim_value for side in port.type.tensor_type.shape.dim]
    taken = asdict(contract.InputSpec(*sides[1:3]))
    return json.dumps({"input": taken, "output": contract.OUTPUT_NAME}, sort_keys=True)


def _describe(onnx: Any, made: Any, target: ConversionTarget) -> None:
    made.producer_name = "tledge"
    made.producer_version = ""
    made.doc_string = target.description
    made.graph.doc_string = ""
    # ONNX Runtime's tools name every domain they know; all operators here are of the standard one.
    _replace(made.opset_import, [onnx.helper.make_opsetid("", OPSET)])
    for port, sides in ((made.graph.input[0], 4), (made.graph.output[0], 2)):
        if len(port.type.tensor_type.shape.dim) == sides:
            port.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.helper.set_model_props(
        made,
        {
            "name": target.name,
            "version": target.version,
            "labels": json.dumps(list(target.labels), ensure_ascii=False),
            "input": "RGB bytes 0..255, stretched to size with antialiased bilinear resizing",
            "contract": _contract(made.graph.input[0]),
            "tledge": __version__,
        },
    )
