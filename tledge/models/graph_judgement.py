"""Judge a TensorFlow graph as data, before any of it runs: arithmetic passes, everything else is refused."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

from tledge._io import decompression
from tledge.errors import RecipeError
from tledge.models.graph_operators import KINDS, NUMBERS, OPERATORS, WORDS

MAX_GRAPH = 64 << 20
"""Bytes that the structure of a graph may unpack to; that of a large module takes two megabytes."""

MAX_CONSTANT = 64 << 20
"""Bytes that all constants of a graph may fill in memory: weights are variables, and shapes are small."""

MAX_RANK = 16
"""Sides that a shape in a graph may have."""

MAX_ELEMENTS = 1 << 28
"""Numbers that one tensor of a graph may hold for one image, 1 GiB of float32."""


def read_graph(text: str) -> Any:
    """Return the `GraphDef` that a layer's config holds as text, compressed.

    Raises:
        RecipeError: the text is damaged, or unpacks to more than `MAX_GRAPH` bytes.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.framework.graph_pb2 import GraphDef

    try:
        return GraphDef.FromString(decompression.inflate(base64.b64decode(text), MAX_GRAPH))
    except DecodeError as error:
        raise RecipeError(f"the saved layer's graph is damaged ({error}); it is refused.") from error
    except ValueError as error:
        raise RecipeError(f"the saved layer's graph {error}; it is refused.") from error


def refusal(graph: Any) -> str:
    """Return why a `GraphDef` is refused, as the end of a sentence; "" where it passes."""
    if graph.library.ByteSize():
        return "defines functions of its own; a graph of plain operators is expected"
    constants = 0
    for node in graph.node:
        if reason := node_refusal(node):
            return reason
        if node.op == "Const":
            constants += constant_bytes(node.attr["value"].tensor)
    if constants > MAX_CONSTANT:
        return f"holds constants of {constants >> 20} MiB, and {MAX_CONSTANT >> 20} MiB is the most"
    return ""


def node_refusal(node: Any) -> str:
    """Return why a `NodeDef` is refused, as the end of a sentence; "" where it passes."""
    allowed = OPERATORS.get(node.op)
    if allowed is None:
        return (
            f"holds the operator {plain(node.op)}, which is not on tledge's list of arithmetic for image "
            "features"
        )
    if node.device or not _is_without_text(node.experimental_type):
        return f"ties the operator {node.op} to a device or a type of its own"
    for name, value in node.attr.items():
        if name not in allowed or not _is_allowed(name, value):
            return f"holds the operator {node.op} with an attribute {plain(name)} that it may not have"
    return ""


def plain(text: str) -> str:
    """Return a name of somebody else's for a message: short, and in letters that do nothing to a terminal."""
    return ascii(text)[1:-1][:80]


def _is_allowed(name: str, value: Any) -> bool:
    """Tell whether an attribute has its kind, and a value of the allowed ones."""
    kind = value.WhichOneof("value")
    if kind == "list" and name == "T":  # of IdentityN
        return _holds_only(value.list, "type") and NUMBERS.issuperset(value.list.type)
    return bool(kind == KINDS[name] and (kind not in _CHECKS or _CHECKS[kind](name, value)))


_CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "type": lambda _name, value: value.type in NUMBERS,
    "s": lambda name, value: value.s in WORDS[name],
    "list": lambda _name, value: _holds_only(value.list, "i"),
    "shape": lambda _name, value: len(value.shape.dim) <= MAX_RANK,
    "tensor": lambda _name, value: value.tensor.dtype in NUMBERS,
}
"""What a value of a kind must be; numbers and flags may be any."""


def _is_without_text(full_type: Any) -> bool:
    """Tell whether the type that TensorFlow derived of a node's outputs names no type by text."""
    return not full_type.s and all(_is_without_text(part) for part in full_type.args)


def _holds_only(values: Any, kind: str) -> bool:
    """Tell whether the list of an attribute holds values of one kind alone."""
    return all(field.name == kind for field, _values in values.ListFields())


def constant_bytes(tensor: Any) -> int:
    """Return the bytes that a constant fills in memory: one number is stored for many that are equal."""
    count = 8
    for side in tensor.tensor_shape.dim:
        count *= max(0, side.size)
    return max(count, int(tensor.ByteSize()))


def require_size(graph: Any, image: Any) -> None:
    """Raise RecipeError where a tensor of the graph that is being traced is too large for an image.

    Sizes are those that follow from the graph; what depends on numbers is found when it runs. The graph is
    not imported to be measured: TensorFlow counts what a process imports, and writes that into SavedModels.

    Args:
        graph: the `tf.Graph` that holds the operators.
        image: its batch of images.
    """
    limit = MAX_ELEMENTS * (image.shape[0] or 1)
    for operation in graph.get_operations():
        for tensor in operation.outputs:
            sides = tensor.shape.as_list() if tensor.shape.rank is not None else []
            if math.prod(1 if side is None else side for side in sides) > limit:
                raise RecipeError(
                    f"the saved layer's graph makes {tensor.shape} of an image, more than {MAX_ELEMENTS} "
                    "numbers; it is refused."
                )
