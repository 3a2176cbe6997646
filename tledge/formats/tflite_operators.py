"""The operators of a `.tflite` file in running order, each with its multiply-accumulates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tledge.formats import tflite_model


@dataclass(frozen=True)
class Operator:
    """One operator: its name in TFLite's schema, or its own where it is custom, and its MACs."""

    name: str
    macs: int = 0


def operators(model: bytes, name: str) -> tuple[Operator, ...]:
    """Return all operators of the first subgraph, in running order.

    MACs are counted for CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED, padding included; other
    operators multiply little and count as 0.

    Args:
        model: the bytes of a `.tflite` file.
        name: the file's name, for messages.

    Raises:
        ArtifactError: the file is damaged.
    """
    parsed = tflite_model.parse(model, name)
    with tflite_model.damage_explained(name):
        graph = parsed.subgraphs[0]
        return tuple(_operator(parsed, graph, operator) for operator in graph.operators or ())


def _operator(model: Any, graph: Any, operator: Any) -> Operator:
    name = tflite_model.operator_name(model, operator)
    return Operator(name, _macs(name, graph, operator))


def _macs(name: str, graph: Any, operator: Any) -> int:
    """Count multiplications: each output value takes one for each weight that it depends on."""
    if name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    weights = tflite_model.shape_of(graph.tensors[operator.inputs[1]])
    output = tflite_model.shape_of(graph.tensors[operator.outputs[0]])
    # Kernels: [out, height, width, in / groups]; depthwise [1, height, width, out]; dense [out, in].
    per_output_value = weights[1:-1] if name == "DEPTHWISE_CONV_2D" else weights[1:]
    return math.prod(output) * math.prod(per_output_value)
