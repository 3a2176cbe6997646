"""Judge a stored SavedModel as data, before TensorFlow loads it: loading one runs parts of it already.

A SavedModel is a program with a file of weights. TensorFlow runs its initializers while it loads it, and
its functions may read and write files, call addresses and Python. So `saved_model.pb` is read as a protocol
buffer first: every operator of every function must be on a list, no function that the model offers may hold
the operators that write and read the weights' file, and nothing of it may be run by loading alone.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tledge._io import file_guard
from tledge.errors import TledgeError
from tledge.models import graph_judgement, graph_operators
from tledge.models.graph_judgement import plain

PROGRAM = "saved_model.pb"

MAX_BYTES = 512 << 20
"""Bytes that `saved_model.pb` may have; the weights are in other files."""

MAX_NODES = 2_000_000
"""Operators that a function may have once all functions that it calls stand in the places of their calls."""

CALLS = frozenset(
    ("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case", "StatelessCase", "While",
     "StatelessWhile"),
)  # fmt: skip
"""Operators that call functions of the SavedModel itself."""

VARIABLES = frozenset(
    ("VarHandleOp", "ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp",
     "VarIsInitializedOp", "DisableCopyOnRead", "NoOp", "PlaceholderWithDefault", "Switch", "Merge",
     "Assert"),
)  # fmt: skip
"""Operators on weights, and what keeps operators in order."""

TRAINING = frozenset(
    ("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "StatelessRandomUniform",
     "StatelessRandomUniformV2", "StatelessRandomNormal", "StatelessRandomNormalV2",
     "StatelessRandomGetKeyCounter", "StatelessRandomGetAlg", "StatelessRandomGetKeyCounterAlg",
     "BroadcastGradientArgs", "Conv2DBackpropFilter", "Conv2DBackpropInput", "Cumsum",
     "DepthwiseConv2dNativeBackpropFilter", "DepthwiseConv2dNativeBackpropInput", "Einsum",
     "FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3", "InvertPermutation", "MaxPoolGrad",
     "AvgPoolGrad", "OneHot", "ReciprocalGrad", "Relu6Grad", "ReluGrad", "RsqrtGrad",
     "SigmoidGrad", "SoftplusGrad", "SqrtGrad", "TanhGrad", "LeakyReluGrad", "EluGrad", "SeluGrad"),
)  # fmt: skip
"""Operators of a training branch that image features do not need: chance and gradients."""

SAVER = frozenset(
    ("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "StringJoin", "StaticRegexFullMatch"),
)  # fmt: skip
"""Operators on the file of weights. Loading does not run them: it reads the file by itself."""

PHOTOS = frozenset(
    ("DecodeJpeg", "DecodePng", "DecodeRaw", "Substr", "ScaleAndTranslate", "TensorListReserve",
     "TensorListFromTensor", "TensorListGetItem", "TensorListSetItem", "TensorListStack"),
)  # fmt: skip
"""Operators of the signature that takes encoded photos, in SavedModels that tledge writes."""

TEXTS: dict[str, Collection[str]] = {
    **dict.fromkeys(CALLS, ("config", "config_proto", "executor_type")),
    "VarHandleOp": ("container", "shared_name", "debug_name"),
    "Einsum": ("equation",),
    "StaticRegexFullMatch": ("pattern",),
    "DecodeJpeg": ("dct_method",),
    "ScaleAndTranslate": ("kernel_type",),
}
"""Text attributes that name no file and no address, besides the words of arithmetic operators."""

OBJECTS = frozenset(
    ("user_object", "function", "bare_concrete_function", "variable", "constant", "captured_tensor")
)
"""Kinds of objects that loading makes without running anything."""


CLASSES = frozenset(("", "tf.TrackableConstant"))
"""Names of registered Python classes whose objects loading makes without running anything."""


def require_data(
    folder: Path, error: type[TledgeError], *, more: Collection[str] = (), assets: Collection[str] = ()
) -> None:
    """Raise an error of class `error` unless loading the SavedModel in a folder runs nothing of it.

    Args:
        folder: the SavedModel.
        error: the class of error to raise.
        more: operators to allow besides those of every image model, such as `PHOTOS`.
        assets: names of files in its folder `assets` that it may have.

    Raises:
        TledgeError: of class `error`: `saved_model.pb` holds more than a network; or a pipe or device lies
            in the folder.
        ValueError: `saved_model.pb` is cut or damaged.
        OSError: it is missing.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    _require_files(folder, error)
    data = file_guard.read_bytes(folder / PROGRAM, follow=True, limit=MAX_BYTES, error=error)
    try:
        saved = SavedModel.FromString(data)
    except Exception as damage:  # protobuf's DecodeError
        raise ValueError(f"{PROGRAM} is cut or damaged: {damage}") from damage
    if reason := refusal(saved, more, assets):
        raise error(
            f"{folder}: the SavedModel {reason}; it is not loaded, because loading a SavedModel runs parts "
            "of it. Expected an image network alone."
        )


def _require_files(folder: Path, error: type[TledgeError]) -> None:
    """Raise an error where TensorFlow would wait for a pipe, or read a device."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise file_guard.refusal(path, mode, error)


def refusal(saved: Any, more: Collection[str] = (), assets: Collection[str] = ()) -> str:
    """Return why a `SavedModel` protocol buffer is refused, as the end of a sentence; "" where it passes."""
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def"):
        return "is one of TensorFlow 1, whose initializers run when it is loaded"
    graph = saved.meta_graphs[0]
    return (
        _object_refusal(graph, assets)
        or _node_refusal(graph.graph_def.node, (*SAVER, *more))
        or _library_refusal(graph, more)
    )


def _object_refusal(graph: Any, assets: Collection[str]) -> str:
    """Return which object of a graph loading would run something for."""
    if other := [asset.filename for asset in graph.asset_file_def if asset.filename not in assets]:
        return f"brings the file {plain(other[0])} along"
    allowed = {*OBJECTS, *(["asset"] if assets else [])}
    for item in graph.object_graph_def.nodes:
        if item.WhichOneof("kind") not in allowed:
            return f"holds an object of the kind {item.WhichOneof('kind')}, which is made by running it"
        if item.registered_name not in CLASSES or item.registered_saver:
            return f"holds an object of the class {plain(item.registered_name or item.registered_saver)}"
    return ""


def _library_refusal(graph: Any, more: Collection[str]) -> str:
    """Return which function holds what it may not; those of the saver alone may name the weights' file."""
    functions = {item.signature.name: item for item in graph.graph_def.library.function}
    if len(functions) != len(graph.graph_def.library.function):
        return "holds two functions of one name"
    calls = {name: _called(item) for name, item in functions.items()}
    if missing := {name for names in calls.values() for name in names} - functions.keys():
        return f"calls a function {plain(min(missing))}, which it does not hold"
    offered = _reachable(calls, _roots(graph.object_graph_def))
    for name, function in functions.items():
        allowed = more if name in offered else (*SAVER, *more)
        if reason := _node_refusal(function.node_def, allowed):
            return reason
    return _growth_refusal(functions, calls)


def _roots(objects: Any) -> Iterator[str]:
    """Yield the names of all functions that objects offer, or that loading might run."""
    yield from objects.concrete_functions
    for item in objects.nodes:
        yield from item.function.concrete_functions
        yield item.bare_concrete_function.concrete_function_name
        yield item.captured_tensor.concrete_function


def _reachable(calls: dict[str, list[str]], roots: Iterator[str]) -> set[str]:
    found: set[str] = set()
    waiting = [name for name in roots if name in calls]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += calls[name]
    return found


def _called(function: Any) -> list[str]:
    """Return the names of the functions that a function calls, once for each call."""
    values = [value for node in function.node_def for value in node.attr.values()]
    callees = [value.func for value in values if value.HasField("func")]
    return [item.name for item in (*callees, *(item for value in values for item in value.list.func))]


def _growth_refusal(functions: dict[str, Any], calls: dict[str, list[str]]) -> str:
    """Return why calls cannot be replaced by what they call: in a circle, or too often."""
    sizes: dict[str, int] = {}
    waiting = [(name, False) for name in functions]
    open_calls: set[str] = set()
    while waiting:
        name, is_counted = waiting.pop()
        if is_counted:
            sizes[name] = len(functions[name].node_def) + sum(sizes[callee] for callee in calls[name])
            open_calls.discard(name)
            if sizes[name] > MAX_NODES:
                return f"grows to more than {MAX_NODES} operators by calls"
        elif name in open_calls:
            return f"holds a function that calls itself, {plain(name)}"
        elif name not in sizes:
            open_calls.add(name)
            waiting.append((name, True))
            waiting += [(callee, False) for callee in calls[name] if callee not in sizes]
    return ""


def _node_refusal(nodes: Any, more: Collection[str]) -> str:
    """Return which operator is not allowed, or has an attribute that it may not have."""
    for node in nodes:
        if not (
            node.op in graph_operators.OPERATORS
            or node.op in CALLS
            or node.op in VARIABLES
            or node.op in TRAINING
            or node.op in more
        ):
            return f"holds the operator {plain(node.op)}, which is more than a network needs"
        for name, value in node.attr.items():
            if not name.startswith("_") and not _is_allowed(node.op, name, value):
                return f"holds the operator {node.op} with an attribute {plain(name)} that it may not have"
    return ""


def _is_allowed(operator: str, name: str, value: Any) -> bool:
    """Tell whether an attribute is no text but a known word, calls nothing, and fits into memory."""
    if value.HasField("func") or value.list.func:
        return operator in CALLS
    if value.list.s or value.WhichOneof("value") == "s":
        words = graph_operators.WORDS.get(name, ())
        return name in TEXTS.get(operator, ()) or all(text in words for text in value.list.s or [value.s])
    if value.HasField("tensor"):
        most: int = max(graph_judgement.MAX_CONSTANT, value.tensor.ByteSize())
        return graph_judgement.constant_bytes(value.tensor) <= most
    return True
