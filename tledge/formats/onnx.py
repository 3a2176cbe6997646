"""ONNX for ONNX Runtime anywhere: input `image` uint8[N, H, W, 3], output `probabilities`."""

from __future__ import annotations

import json
import math
from typing import Any

from tledge._io.json_records import from_json
from tledge._process import optional_imports
from tledge._process.optional_imports import Needs, install_command
from tledge.errors import ArtifactError
from tledge.formats.base import Format, InputArithmetic, Mode, Port, Structure, is_zeroed
from tledge.formats.onnx_conversion import convert
from tledge.runtime import sandbox
from tledge.runtime.model_file import ModelSource, read_model
from tledge.runtime.onnx_weights import refuse_external_data
from tledge.runtime.sandbox_process import Worker
from tledge.runtime.sessions import Session

VALUE_KEEPING_OPERATORS = ("Cast", "Transpose")
"""Operators that change the dtype or the order of pixels, and not their values."""

ENTRY_OPERATORS = (*VALUE_KEEPING_OPERATORS, "Identity")
EXIT_OPERATORS = (*ENTRY_OPERATORS, "Reshape", "Squeeze", "Flatten", "QuantizeLinear", "DequantizeLinear")
"""Operators that are passed over from the input on, and back from the output."""

MAX_STEPS = 16
"""Operators that are followed from the input and from the output at most."""

TO_INSPECT = Needs(("onnx",), "pip install onnx")
"""A device needs no more than this for it."""


def open_model(source: ModelSource, kernels: str) -> Session:
    """Open in ONNX Runtime, in another process, for all processors; `kernels` is for TFLite."""
    del kernels
    return sandbox.open_session(source, parallel=True)


def inspect(source: ModelSource) -> Structure:
    """Find the structure of an ONNX file without running it; another process reads it with `onnx`.

    Raises:
        ArtifactError: the file is damaged, its weights are in another file, or it ends that process.
        MissingError: `onnx` is not installed.
    """
    model = read_model(source)
    if not sandbox.is_possible("onnx"):
        return inspect_here(model)
    request = {"do": "inspect", "name": model.name}
    _process, reply = sandbox.ask_tensorflow(request, model.name, model.content, by=Worker("onnx"))
    return from_json(Structure, reply["structure"])


def inspect_here(source: ModelSource) -> Structure:
    """Find the structure of an ONNX file with `onnx` in this process.

    Raises:
        ArtifactError: the file is damaged, or its weights are in another file.
        MissingError: `onnx` is not installed.
    """
    onnx = optional_imports.load("onnx", "export", TO_INSPECT.command)
    model = read_model(source)
    refuse_external_data(model.content, model.name)
    try:
        loaded = onnx.load_model_from_string(model.content)
        onnx.checker.check_model(loaded)
        graph = loaded.graph
        arrays = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.initializer}
        inputs = tuple(
            _port(onnx, port, *_input_quantization(graph, arrays, port.name)) for port in graph.input
        )
        outputs = tuple(_port(onnx, port) for port in graph.output)
    except Exception as error:  # protobuf and onnx raise classes of their own
        raise ArtifactError(f"{source.name}: not a readable ONNX file ({error}).") from error
    weights: dict[str, int] = {}
    for array in arrays.values():
        weights[array.dtype.name] = weights.get(array.dtype.name, 0) + array.nbytes
    metadata = {entry.key: entry.value for entry in loaded.metadata_props}
    return Structure(
        inputs=inputs,
        outputs=outputs,
        weights=weights,
        activations=(),
        operators=tuple(sorted({node.op_type for node in graph.node})),
        zeroed=tuple(name for name, array in arrays.items() if is_zeroed(array)),
        labels=_labels(metadata.get("labels"), source.name),
        metadata={**metadata, "opset": max(opset.version for opset in loaded.opset_import)},
        first=_first_arithmetic(graph, arrays | _constant_nodes(onnx, graph)),
        last=_last_operator(graph),
    )


def _port(onnx: Any, port: Any, scale: float = 0.0, zero_point: int = 0) -> Port:
    kind = port.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return Port(port.name, dtype, tuple(side.dim_value or -1 for side in kind.shape.dim), scale, zero_point)


def _input_quantization(graph: Any, arrays: dict[str, Any], name: str) -> tuple[float, int]:
    """Return scale and zero point that an input is quantized with before it is computed with; else 0, 0."""
    readers = [node for node in graph.node if name in node.input]
    first = readers[0] if len(readers) == 1 else None
    if first is not None and first.op_type in VALUE_KEEPING_OPERATORS:
        return _input_quantization(graph, arrays, first.output[0])
    if first is None or first.op_type != "QuantizeLinear":
        return 0.0, 0
    scale, *zero_point = (arrays[constant].item() for constant in first.input[1:])
    return scale, zero_point[0] if zero_point else 0


def _constant_nodes(onnx: Any, graph: Any) -> dict[str, Any]:
    """Return the values of `Constant` nodes of one or three numbers, by name."""
    values = {}
    for node in graph.node:
        tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if node.op_type == "Constant" and tensor is not None and math.prod(tensor.dims) in (1, 3):
            values[node.output[0]] = onnx.numpy_helper.to_array(tensor)
    return values


def _first_arithmetic(graph: Any, arrays: dict[str, Any]) -> InputArithmetic | None:
    """Return the arithmetic that the only readers of the input, one after the other, begin with."""
    weights = {weight.name for weight in graph.initializer}
    names = [port.name for port in graph.input if port.name not in weights]
    arithmetic, name = InputArithmetic(), names[0] if names else ""
    for _step in range(MAX_STEPS):
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or len(readers[0].output) != 1:
            break
        node = readers[0]
        if node.op_type not in ENTRY_OPERATORS:
            others = [arrays.get(other) for other in node.input if other != name]
            if len(node.input) != 2 or len(others) != 1 or others[0] is None or others[0].dtype.kind != "f":
                break
            if node.op_type in ("Sub", "Div") and node.input[0] != name:
                break
            constant = tuple(float(value) for value in others[0].ravel()[:4])
            following = arithmetic.then(node.op_type.upper(), constant)
            if following is None:
                break
            arithmetic = following
        name = node.output[0]
    return arithmetic if arithmetic != InputArithmetic() else None


def _last_operator(graph: Any) -> str:
    """Return the operator that computes the output, before those that keep its values, in upper case."""
    name = graph.output[0].name if graph.output else ""
    for _step in range(MAX_STEPS):
        makers = [node for node in graph.node if name in node.output]
        if len(makers) != 1:
            return ""
        if makers[0].op_type not in EXIT_OPERATORS:
            return str(makers[0].op_type).upper()
        name = makers[0].input[0]
    return ""


def _labels(text: str | None, name: str) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        labels = json.loads(text)
        if not isinstance(labels, list):
            raise ValueError(f"{text[:80]!r}")
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name}: its property `labels` is not a JSON list ({error}).") from error
    return tuple(str(label) for label in labels)


FORMAT = Format(
    suffix=".onnx",
    modes={
        "fp32": Mode("ONNX Runtime, float32, any batch", "float", "float32", (3.5, 6.0)),
        "fp16": Mode("ONNX Runtime, float16 weights, computed in float32", "fp16", "float16", (1.8, 3.5)),
        "int8": Mode(
            "ONNX Runtime, int8 weights and activations (QDQ), float output",
            "int8", "int8", (0.9, 2.5), calibrated=True, needs=("onnxruntime",),
        ),
    },
    convert=convert,
    open=open_model,
    inspect=inspect,
    to_convert=Needs(("keras", "tensorflow", "onnx", "tf2onnx"), install_command("export")),
    to_open=Needs(("onnxruntime",), "pip install onnxruntime"),
    to_inspect=TO_INSPECT,
)  # fmt: skip
