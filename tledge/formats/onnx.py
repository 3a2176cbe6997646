"""ONNX for ONNX Runtime anywhere: input `image` uint8[N, H, W, 3], output `probabilities`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tledge import contract, runs
from tledge.errors import ArtifactError, ConversionError, MissingError
from tledge.formats.base import Format, Job, Mode, Port, Structure, is_zeroed
from tledge.formats.frozen import keras_model, tensorflow
from tledge.runtime import OnnxSession, Session, SessionPool

OPSET = 17


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingError(f"onnx is not installed ({error}): pip install 'tledge[export]'") from error
    return onnx


def convert(job: Job) -> dict[str, Any]:
    """Write the ONNX file `job.out` with canonical names, so that equal models give equal bytes."""
    tf = tensorflow()
    onnx = _onnx()
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "0")
    import tf2onnx

    net = keras_model(Path(job.model))
    height, width = net.input_shape[1:3]
    spec = tf.TensorSpec((None, height, width, 3), tf.uint8, contract.INPUT_NAME)
    function = tf.function(
        lambda image: net(tf.cast(image, tf.float32), training=False),
        input_signature=[spec],
    )
    made, _ = tf2onnx.convert.from_function(function, [spec], opset=OPSET)
    _rename(made.graph)
    _describe(onnx, made, job)
    try:
        onnx.checker.check_model(made, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"the ONNX model is not valid: {error}") from error
    with runs.replacing(Path(job.out)) as path:
        path.write_bytes(made.SerializeToString(deterministic=True))
    return {"opset": OPSET}


def _rename(graph: Any) -> None:
    """Number all names in the order of the graph; tf2onnx's carry counters of the process."""
    names = {graph.input[0].name: contract.INPUT_NAME, graph.output[0].name: contract.OUTPUT_NAME}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}_{number}"
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{place}")
    weights = sorted(graph.initializer, key=lambda one: _first_use(graph, one.name))
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


def _first_use(graph: Any, name: str) -> tuple[int, int]:
    for number, node in enumerate(graph.node):
        if name in node.input:
            return number, list(node.input).index(name)
    return len(graph.node), 0


def _replace(field: Any, values: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _describe(onnx: Any, made: Any, job: Job) -> None:
    made.producer_name = "tledge"
    made.producer_version = ""
    made.doc_string = job.description
    made.graph.doc_string = ""
    for port, sides in ((made.graph.input[0], 4), (made.graph.output[0], 2)):
        if len(port.type.tensor_type.shape.dim) == sides:
            port.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.helper.set_model_props(
        made,
        {
            "name": job.name,
            "version": job.version,
            "labels": json.dumps(list(job.labels), ensure_ascii=False),
            "input": "RGB bytes 0..255, stretched to size with antialiased bilinear resizing",
        },
    )


def open_model(path: Path, kernels: str) -> Session:
    """Open in ONNX Runtime, to be run from a thread for every processor; `kernels` is for LiteRT."""
    del kernels
    return SessionPool([OnnxSession(path.read_bytes(), path.name)] * (os.cpu_count() or 1))


def inspect(path: Path) -> Structure:
    """What is in an ONNX file, read with `onnx` and not run; raises ArtifactError where damaged."""
    onnx = _onnx()
    try:
        loaded = onnx.load(str(path))
        onnx.checker.check_model(loaded)
        graph = loaded.graph
        inputs = tuple(_port(onnx, port) for port in graph.input)
        outputs = tuple(_port(onnx, port) for port in graph.output)
    except Exception as error:  # protobuf and onnx raise classes of their own
        raise ArtifactError(f"{path.name}: not a readable ONNX file ({error}).") from error
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    weights: dict[str, int] = {}
    for array in arrays.values():
        weights[array.dtype.name] = weights.get(array.dtype.name, 0) + array.nbytes
    metadata = {one.key: one.value for one in loaded.metadata_props}
    return Structure(
        inputs=inputs,
        outputs=outputs,
        weights=weights,
        activations=(),
        operators=tuple(sorted({node.op_type for node in graph.node})),
        zeroed=tuple(name for name, array in arrays.items() if is_zeroed(array)),
        labels=_labels(metadata.get("labels"), path),
        metadata={**metadata, "opset": max(one.version for one in loaded.opset_import)},
    )


def _port(onnx: Any, port: Any) -> Port:
    kind = port.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return Port(port.name, dtype, tuple(side.dim_value or -1 for side in kind.shape.dim))


def _labels(text: str | None, path: Path) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        return tuple(str(label) for label in json.loads(text))
    except ValueError as error:
        raise ArtifactError(f"{path.name}: its labels property is no JSON list ({error}).") from error


FORMAT = Format(
    suffix=".onnx",
    modes={"fp32": Mode("ONNX Runtime, float32, any batch", "float", "float32", (3.5, 6.0))},
    convert=convert,
    open=open_model,
    inspect=inspect,
)
