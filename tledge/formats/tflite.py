"""TFLite for LiteRT on phones, boards and microcontrollers: fp32, fp16, dynamic, int8, int16x8."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

from tledge._process.optional_imports import Needs, install_command
from tledge.errors import ArtifactError, MissingError
from tledge.formats import tflite_metadata
from tledge.formats.base import KERNEL_SIZE, Format, Mode, Port, Structure
from tledge.formats.tflite_conversion import convert
from tledge.runtime.model_file import ModelSource, read_model
from tledge.runtime.session_pool import SessionPool
from tledge.runtime.sessions import LiteRTSession, Session, check_tflite


def open_model(source: ModelSource, kernels: str) -> Session:
    """Open in LiteRT with the named kernels, once for every processor."""
    model = read_model(source)
    sessions = [LiteRTSession(model.content, model.name, kernels) for _ in range(os.cpu_count() or 1)]
    return SessionPool(sessions)


def inspect(source: ModelSource) -> Structure:
    """What is in a `.tflite` file, read from its flatbuffer and not run.

    Raises ArtifactError where the file is truncated or damaged.
    """
    model = read_model(source)
    data = model.content
    check_tflite(data, model.name)
    schema = _schema()
    try:
        parsed = schema.Model.GetRootAs(data, 0)
        return _structure(schema, parsed, data)
    except ArtifactError:
        raise
    except Exception as error:  # flatbuffers follows wild offsets into struct, index and type errors
        raise ArtifactError(f"{model.name}: truncated or damaged flatbuffer ({error!r}).") from error


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingError(f"LiteRT is not installed ({error}): pip install ai-edge-litert") from error
    return schema_py_generated


def _structure(schema: Any, parsed: Any, data: bytes) -> Structure:
    graphs = [parsed.Subgraphs(number) for number in range(parsed.SubgraphsLength())]
    main = graphs[0]
    constants = [found for graph in graphs for found in _constants(schema, parsed, graph)]
    weights: dict[str, int] = {}
    for _name, dtype, shape, raw in constants:
        weights[dtype] = weights.get(dtype, 0) + len(raw)
        if len(raw) < _expected_bytes(dtype, shape):
            raise ArtifactError("a constant is shorter than its shape says: truncated file.")
    # Symmetric weights: a zero byte is a zero weight in every dtype.
    zeroed = tuple(
        name
        for name, dtype, shape, raw in constants
        if len(shape) > 1 and math.prod(shape) >= KERNEL_SIZE and dtype != "int32" and not any(raw)
    )
    metadata = tflite_metadata.read_metadata(data)
    labels = metadata.get("labels")
    return Structure(
        inputs=_ports(schema, main, main.InputsAsNumpy()),
        outputs=_ports(schema, main, main.OutputsAsNumpy()),
        weights=weights,
        activations=_activations(schema, parsed, graphs),
        operators=tuple(sorted(_operators(schema, parsed, graphs))),
        zeroed=zeroed,
        labels=tuple(labels) if isinstance(labels, (list, tuple)) else None,
        metadata=metadata,
    )


def _expected_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    width = {"float32": 4, "float16": 2, "int32": 4, "int64": 8, "int16": 2, "int8": 1, "uint8": 1}
    return math.prod(shape) * width.get(dtype, 0)


def _dtype_names(schema: Any) -> dict[int, str]:
    kinds = vars(schema.TensorType).items()
    return {value: name.lower() for name, value in kinds if not name.startswith("_")}


def _tensors(graph: Any) -> Iterator[Any]:
    for number in range(graph.TensorsLength()):
        yield graph.Tensors(number)


def _constants(schema: Any, parsed: Any, graph: Any) -> Iterator[tuple[str, str, tuple[int, ...], bytes]]:
    names = _dtype_names(schema)
    for tensor in _tensors(graph):
        raw = parsed.Buffers(tensor.Buffer()).DataAsNumpy()
        if not isinstance(raw, int) and len(raw):
            shape = tuple(int(side) for side in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
            yield tensor.Name().decode(), names[tensor.Type()], shape, raw.tobytes()


def _activations(schema: Any, parsed: Any, graphs: list[Any]) -> tuple[str, ...]:
    names = _dtype_names(schema)
    return tuple(
        sorted(
            {
                names[tensor.Type()]
                for graph in graphs
                for tensor in _tensors(graph)
                if isinstance(parsed.Buffers(tensor.Buffer()).DataAsNumpy(), int)
            }
        )
    )


def _ports(schema: Any, graph: Any, numbers: Any) -> tuple[Port, ...]:
    return tuple(_port(schema, graph.Tensors(int(number))) for number in numbers)


def _port(schema: Any, tensor: Any) -> Port:
    found = tensor.Quantization()
    quantized = found is not None and found.ScaleLength() > 0
    return Port(
        name=tensor.Name().decode(),
        dtype=_dtype_names(schema)[tensor.Type()],
        shape=tuple(int(side) for side in tensor.ShapeAsNumpy()),
        scale=float(found.Scale(0)) if quantized else 0.0,
        zero_point=int(found.ZeroPoint(0)) if quantized else 0,
    )


def _operators(schema: Any, parsed: Any, graphs: list[Any]) -> set[str]:
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    found = set()
    for graph in graphs:
        for number in range(graph.OperatorsLength()):
            code = parsed.OperatorCodes(graph.Operators(number).OpcodeIndex())
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            custom = code.CustomCode()
            found.add(custom.decode() if custom else kinds[builtin])
    return found


FORMAT = Format(
    suffix=".tflite",
    modes={
        "fp32": Mode("float32 weights, byte input", "float", "float32", (3.5, 6.0), batch=1),
        "fp16": Mode("float16 weights, byte input", "fp16", "float16", (1.8, 3.5), batch=1),
        "dynamic": Mode("int8 weights, float activations", "int8", "int8", (0.9, 2.5), batch=1),
        "int8": Mode(
            "integers only, byte input and output",
            "int8", "int8", (0.9, 2.5), integer_only=True, calibrated=True, batch=1,
        ),
        "mixed": Mode(
            "integers, with the layers in float that need it; byte input and output",
            "int8", "int8", (0.9, 4.5), calibrated=True, batch=1,
        ),
        "int16x8": Mode(
            "int8 weights, int16 activations",
            "int8", "int8", (0.9, 2.8), integer_only=True, calibrated=True, batch=1, input="int16",
        ),
    },
    convert=convert,
    open=open_model,
    inspect=inspect,
    to_convert=Needs(("keras", "tensorflow", "ai_edge_litert", "flatbuffers"), install_command("export")),
    to_open=Needs(("ai_edge_litert",), "pip install ai-edge-litert"),
    to_inspect=Needs(("ai_edge_litert",), "pip install ai-edge-litert"),
)  # fmt: skip
