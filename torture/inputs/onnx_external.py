"""ONNX models with a tensor whose values are in another file, in every place that holds tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SECRET = "secret.bin"
"""The file in the current folder that the tensor names."""

IN_MEMORY = "*/_ORT_MEM_ADDR_/*"
"""ONNX Runtime's own mark: the offset is an address in the memory of the process."""


def external_models(model: bytes) -> tuple[dict[str, bytes], bytes]:
    """Return a model for each place of an external tensor, by its name, and what `SECRET` has to hold.

    With that file in the current folder every model predicts as the original does, where it is opened at all.
    """
    import onnx as library

    original = library.ModelProto.FromString(model)
    floats = [w for w in original.graph.initializer if w.data_type == library.TensorProto.FLOAT and w.dims]
    weights = max(floats, key=lambda weight: len(weight.raw_data))
    models = {}
    for place, put in PLACES.items():
        changed = library.ModelProto.FromString(model)
        kept = [w for w in changed.graph.initializer if w.name != weights.name]
        del changed.graph.initializer[:]
        changed.graph.initializer.extend(kept)
        put(library, changed, weights)
        models[place] = changed.SerializeToString()
    return models, bytes(weights.raw_data)


def _external(library: Any, weights: Any, location: str = SECRET, offset: int = 0) -> Any:
    """Copy a tensor, with its values in another file."""
    tensor = library.TensorProto.FromString(weights.SerializeToString())
    facts = {"location": location, "offset": str(offset), "length": str(len(tensor.raw_data))}
    tensor.ClearField("raw_data")
    tensor.data_location = library.TensorProto.EXTERNAL
    for key, value in facts.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def _prepend(model: Any, *nodes: Any) -> None:
    own = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *own])


def _constant(library: Any, tensor: Any, name: str) -> Any:
    return library.helper.make_node("Constant", [], [name], value=tensor)


def _initializer(library: Any, model: Any, weights: Any) -> None:
    model.graph.initializer.append(_external(library, weights))


def _memory(library: Any, model: Any, weights: Any) -> None:
    model.graph.initializer.append(_external(library, weights, IN_MEMORY, id(model)))


def _attribute(library: Any, model: Any, weights: Any) -> None:
    _prepend(model, _constant(library, _external(library, weights), weights.name))


def _sparse(library: Any, model: Any, weights: Any) -> None:
    import numpy as np

    count = int(np.prod(weights.dims))
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(_external(library, weights))
    del sparse.values.dims[:]
    sparse.values.dims.append(count)
    places = np.arange(count, dtype=np.int64)
    sparse.indices.CopyFrom(library.numpy_helper.from_array(places, "places"))
    sparse.dims.extend(weights.dims)


def _branch(library: Any, weights: Any, name: str, in_attribute: bool) -> Any:
    """Make the branch of an If: the weights as its initializer, or as the attribute of its only node."""
    shape = library.helper.make_tensor_value_info(name, weights.data_type, list(weights.dims))
    tensor = _external(library, weights)
    if in_attribute:
        return library.helper.make_graph([_constant(library, tensor, name)], name, [], [shape])
    node = library.helper.make_node("Identity", [weights.name], [name])
    return library.helper.make_graph([node], name, [], [shape], [tensor])


def _if(library: Any, model: Any, weights: Any, in_attribute: bool) -> None:
    import numpy as np

    condition = library.numpy_helper.from_array(np.array(True), "condition")
    branches = [_branch(library, weights, name, in_attribute) for name in ("branch_a", "branch_b")]
    node = library.helper.make_node(
        "If", ["condition"], [weights.name], then_branch=branches[0], else_branch=branches[1]
    )
    # Named apart inside: a branch sees the names around it.
    for branch in branches:
        for tensor in branch.initializer:
            branch.node[0].input[0] = tensor.name = f"{weights.name}_inside"
    model.graph.initializer.append(condition)
    _prepend(model, node)


def _function(library: Any, model: Any, weights: Any) -> None:
    node = _constant(library, _external(library, weights), "out")
    opsets = [library.helper.make_opsetid("", 17)]
    model.functions.append(library.helper.make_function("mine", "F", [], ["out"], [node], opsets))
    model.opset_import.append(library.helper.make_opsetid("mine", 1))
    _prepend(model, library.helper.make_node("F", [], [weights.name], domain="mine"))


PLACES: dict[str, Callable[[Any, Any, Any], None]] = {
    "initializer": _initializer,
    "attribute": _attribute,
    "sparse initializer": _sparse,
    "initializer of a branch": lambda library, model, weights: _if(library, model, weights, False),
    "attribute in a branch": lambda library, model, weights: _if(library, model, weights, True),
    "function": _function,
    "memory of the process": _memory,
}
