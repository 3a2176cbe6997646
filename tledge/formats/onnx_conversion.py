"""Make `.onnx` files: one float conversion, from which every mode follows.

fp16 stores weights in half precision; int8 is made by ONNX Runtime's quantizer after bias correction.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from tledge import contract
from tledge._io import atomic
from tledge._io.json_records import to_json
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
from tledge.quantization.onnx_int8 import correct_biases, fold_batch_norm, quantize
from tledge.run.read_once import State, state_of

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
        model = fold_batch_norm(model)
        halve(model)
    _write(job.target, job.target.out, model)
    return ConversionResult(job.target.mode, opset=OPSET)


def _convert_to_int8(job: CalibratedJob) -> CalibrationResult:
    images = calibration_set.load(job.calibration_images, job.target.mode)
    model = fold_batch_norm(_float_model(job.target))
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
    return onnx.ModelProto.FromString(_converted(path, state_of(path)))


@lru_cache(maxsize=1)
def _converted(path: Path, state: State) -> bytes:
    """Convert the model with tf2onnx, under canonical names; the result is kept for the other modes."""
    del state  # a file that changed under the same name is converted again
    tf = tensorflow()
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "0")
    tf2onnx = optional_imports.load("tf2onnx", "export")
    network = keras_model(path)
    height, width = network.input_shape[1:3]
    spec = tf.TensorSpec((None, height, width, 3), tf.uint8, contract.INPUT_NAME)
    function = tf.function(
        lambda image: network(tf.cast(image, tf.float32), training=False),
        input_signature=[spec],
    )
    model, _ = tf2onnx.convert.from_function(function, [spec], opset=OPSET)
    _rename(model.graph)
    return bytes(model.SerializeToString(deterministic=True))


def halve(model: Any) -> None:
    """Store weights in float16, each with a Cast to float32 after it, in place.

    ONNX Runtime folds those casts when it loads the file, so that it runs as fast and on as many
    processors as float32. Half precision throughout needs kernels that it mostly lacks on the CPU,
    where it would cast before and after every operator.
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


def _write(target: ConversionTarget, out: str, model: Any) -> None:
    onnx = optional_imports.load("onnx", "export")
    _rename(model.graph)
    _describe(onnx, model, target)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"the ONNX model is not valid: {error}") from error
    with atomic.replacing(Path(out)) as path:
        path.write_bytes(model.SerializeToString(deterministic=True))


def _rename(graph: Any) -> None:
    """Replace all names by numbers in the order of the graph, because those of tf2onnx depend on the process.

    Constants that no node reads are removed.
    """
    names = {graph.input[0].name: contract.INPUT_NAME, graph.output[0].name: contract.OUTPUT_NAME}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}_{number}"
        for position, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{position}")
    first_uses = _first_uses(graph)
    used = [weight for weight in graph.initializer if weight.name in first_uses]
    weights = sorted(used, key=lambda weight: first_uses[weight.name])
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
    """Return for every name that a node reads: number of the first such node, position in its inputs."""
    first_uses: dict[str, tuple[int, int]] = {}
    for number, node in enumerate(graph.node):
        for position, name in enumerate(node.input):
            first_uses.setdefault(name, (number, position))
    return first_uses


def _replace(field: Any, values: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _contract(port: Any) -> str:
    """Return input and output as the manifest describes them, as JSON, for a file without its bundle."""
    sides = [side.dim_value for side in port.type.tensor_type.shape.dim]
    input_spec = to_json(contract.InputSpec(*sides[1:3]))
    return json.dumps({"input": input_spec, "output": contract.OUTPUT_NAME}, sort_keys=True)


def _describe(onnx: Any, model: Any, target: ConversionTarget) -> None:
    model.producer_name = "tledge"
    model.producer_version = ""
    model.doc_string = target.description
    model.graph.doc_string = ""
    # ONNX Runtime's tools list every domain that they know; all operators here are of the standard one.
    _replace(model.opset_import, [onnx.helper.make_opsetid("", OPSET)])
    for port, sides in ((model.graph.input[0], 4), (model.graph.output[0], 2)):
        if len(port.type.tensor_type.shape.dim) == sides:
            port.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.helper.set_model_props(
        model,
        {
            "name": target.name,
            "version": target.version,
            "labels": json.dumps(list(target.labels), ensure_ascii=False),
            "input": "RGB bytes 0..255, stretched to size with antialiased bilinear resizing",
            "contract": _contract(model.graph.input[0]),
            "tledge": __version__,
        },
    )
