"""The operators of a `.tflite` in running order, each with its multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tledge.errors import ArtifactError
from tledge.runtime.sessions import check_tflite


@dataclass(frozen=True)
class Operator:
    """One operator: its name in TFLite's schema, or its own where it is custom, and its MACs."""

    name: str
    macs: int = 0


def operators(model: bytes, name: str) -> tuple[Operator, ...]:
    """All operators of the first subgraph of `model`, in running order.

    MACs are counted for CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED, padding included; other
    operators multiply little and count as 0. Raises ArtifactError for a damaged file.
    """
    from ai_edge_litert import schema_py_generated as schema

    check_tflite(model, name)
    try:
        return tuple(_operators(schema, schema.Model.GetRootAs(model, 0)))
    except Exception as error:  # flatbuffers follows wild offsets into struct, index and type errors
        raise ArtifactError(f"{name}: truncated or damaged flatbuffer ({error!r}).") from error


def _operators(schema: Any, model: Any) -> Iterator[Operator]:
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    graph = model.Subgraphs(0)
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        custom = code.CustomCode()
        name = custom.decode() if custom else kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        yield Operator(name, _macs(name, graph, operator))


def _macs(name: str, graph: Any, operator: Any) -> int:
    """Every value of the output takes as many products as the part of the weights that it sees."""
    if name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    weights, output = _shape(graph, operator.Inputs(1)), _shape(graph, operator.Outputs(0))
    # Kernels: [out, down, right, in / groups]; depthwise [1, down, right, out]; dense [out, in].
    seen = weights[1:-1] if name == "DEPTHWISE_CONV_2D" else weights[1:]
    return math.prod(output) * math.prod(seen)


def _shape(graph: Any, tensor: int) -> tuple[int, ...]:
    return tuple(int(side) for side in graph.Tensors(tensor).ShapeAsNumpy())
