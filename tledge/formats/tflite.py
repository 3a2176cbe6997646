"""TFLite for LiteRT on phones, boards and microcontrollers: fp32, fp16, dynamic, int8, int16x8."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tledge._process.optional_imports import Needs, install_command
from tledge.errors import ArtifactError
from tledge.formats import tflite_metadata, tflite_model
from tledge.formats.base import KERNEL_SIZE, Format, InputArithmetic, Mode, Port, Structure
from tledge.formats.tflite_conversion import convert
from tledge.runtime import sandbox
from tledge.runtime.model_file import ModelSource, read_model
from tledge.runtime.sessions import Session

BYTES_PER_VALUE = {"float32": 4, "float16": 2, "int32": 4, "int64": 8, "int16": 2, "int8": 1, "uint8": 1}
"""Size of one value by dtype, of those that are whole bytes."""


def open_model(source: ModelSource, kernels: str) -> Session:
    """Open in LiteRT with the named kernel family, in another process, for all processors."""
    return sandbox.open_session(source, kernels, parallel=True)


def inspect(source: ModelSource) -> Structure:
    """Find the structure of a `.tflite` file from its flatbuffer, without running it.

    Raises:
        ArtifactError: the file is truncated or damaged.
    """
    model = read_model(source)
    parsed = tflite_model.parse(model.content, model.name)
    with tflite_model.damage_explained(model.name):
        return _structure(parsed, model.content)


@dataclass(frozen=True)
class _Constant:
    name: str
    dtype: str
    shape: tuple[int, ...]
    raw: bytes

    @property
    def is_zeroed_kernel(self) -> bool:
        """True where all weights are zero: with symmetric weights, a zero byte is zero in every dtype."""
        is_kernel = len(self.shape) > 1 and math.prod(self.shape) >= KERNEL_SIZE and self.dtype != "int32"
        return is_kernel and not any(self.raw)


def _structure(model: Any, data: bytes) -> Structure:
    main = model.subgraphs[0]
    constants = list(_constants(model))
    metadata = tflite_metadata.read_metadata(data)
    labels = metadata.get("labels")
    return Structure(
        inputs=tuple(_port(main.tensors[number]) for number in main.inputs),
        outputs=tuple(_port(main.tensors[number]) for number in main.outputs),
        weights=_bytes_by_dtype(constants),
        activations=_activations(model),
        operators=tuple(sorted(_operators(model))),
        zeroed=tuple(constant.name for constant in constants if constant.is_zeroed_kernel),
        labels=tuple(labels) if isinstance(labels, (list, tuple)) else None,
        metadata=metadata,
        first=_first_arithmetic(model, main),
        last=_last_operator(model, main),
    )


VALUE_KEEPING_OPERATORS = ("CAST", "TRANSPOSE", "RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE")
"""Operators that change the dtype, the order or the shape of values, and not what they mean."""

MAX_STEPS = 16
"""Operators that are followed from the input and from the output at most."""


def _first_arithmetic(model: Any, graph: Any) -> InputArithmetic | None:
    """Return the arithmetic that the only readers of the input, one after the other, begin with."""
    arithmetic, number = InputArithmetic(), graph.inputs[0] if len(graph.inputs) else -1
    for _step in range(MAX_STEPS):
        readers = [operator for operator in graph.operators or () if number in operator.inputs]
        if len(readers) != 1 or len(readers[0].outputs) != 1:
            break
        name = tflite_model.operator_name(model, readers[0])
        if name not in VALUE_KEEPING_OPERATORS:
            following = _with_operator(model, graph, readers[0], number, arithmetic)
            if following is None:
                break
            arithmetic = following
        number = readers[0].outputs[0]
    return arithmetic if arithmetic != InputArithmetic() else None


def _with_operator(
    model: Any, graph: Any, operator: Any, number: int, arithmetic: InputArithmetic
) -> InputArithmetic | None:
    """Return the arithmetic with an operator added; None where it is not one of a float constant."""
    name = tflite_model.operator_name(model, operator)
    others = [other for other in operator.inputs if other != number]
    if name not in ("ADD", "SUB", "MUL", "DIV") or len(others) != 1 or len(operator.inputs) != 2:
        return None
    if name in ("SUB", "DIV") and operator.inputs[0] != number:
        return None
    if getattr(operator.builtinOptions, "fusedActivationFunction", 0):
        return None
    tensor = graph.tensors[others[0]]
    content = model.buffers[tensor.buffer].data
    if tflite_model.dtype_name(tensor) != "float32" or content is None or len(content) not in (4, 12):
        return None
    constant = struct.unpack(f"<{len(content) // 4}f", bytes(content))
    return arithmetic.then(name, constant)


def _last_operator(model: Any, graph: Any) -> str:
    """Return the operator that computes the output, before those that keep its values."""
    number = graph.outputs[0] if len(graph.outputs) else -1
    for _step in range(MAX_STEPS):
        makers = [operator for operator in graph.operators or () if number in operator.outputs]
        if len(makers) != 1:
            return ""
        name = tflite_model.operator_name(model, makers[0])
        if name not in VALUE_KEEPING_OPERATORS:
            return name
        number = makers[0].inputs[0]
    return ""


def _bytes_by_dtype(constants: Iterable[_Constant]) -> dict[str, int]:
    """Add up the bytes of constants; raise ArtifactError where one has fewer than its shape says."""
    weights: dict[str, int] = {}
    for constant in constants:
        weights[constant.dtype] = weights.get(constant.dtype, 0) + len(constant.raw)
        if len(constant.raw) < math.prod(constant.shape) * BYTES_PER_VALUE.get(constant.dtype, 0):
            raise ArtifactError("a constant is shorter than its shape says: truncated file.")
    return weights


def _tensors(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each tensor of each subgraph with its buffer's content, None where it is computed."""
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            yield tensor, model.buffers[tensor.buffer].data


def _constants(model: Any) -> Iterator[_Constant]:
    for tensor, content in _tensors(model):
        if content is not None and len(content):
            shape, raw = tflite_model.shape_of(tensor), content.tobytes()
            yield _Constant(tensor.name.decode(), tflite_model.dtype_name(tensor), shape, raw)


def _activations(model: Any) -> tuple[str, ...]:
    """Return the dtypes of computed tensors, each once, sorted."""
    computed = [tensor for tensor, content in _tensors(model) if content is None]
    return tuple(sorted({tflite_model.dtype_name(tensor) for tensor in computed}))


def _port(tensor: Any) -> Port:
    quantization = tensor.quantization
    scales = quantization.scale if quantization is not None else None
    zero_points = quantization.zeroPoint if quantization is not None else None
    return Port(
        name=tensor.name.decode(),
        dtype=tflite_model.dtype_name(tensor),
        shape=tflite_model.shape_of(tensor),
        scale=float(scales[0]) if scales is not None and len(scales) else 0.0,
        zero_point=int(zero_points[0]) if zero_points is not None and len(zero_points) else 0,
        signature=tuple(int(side) for side in tensor.shapeSignature)
        if tensor.shapeSignature is not None
        else (),
    )


def _operators(model: Any) -> set[str]:
    return {
        tflite_model.operator_name(model, operator)
        for graph in model.subgraphs
        for operator in graph.operators or ()
    }


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
