"""ONNX models changed by structure."""

from __future__ import annotations

import random
from typing import Any

from torture.inputs.model_mutations import NUMBERS, Change


def mutate(model_bytes: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change an ONNX model's graph once or twice."""
    import onnx as library

    model = library.ModelProto.FromString(model_bytes)
    names = [rng.choice(sorted(MUTATIONS)) for _ in range(rng.choice((1, 1, 2)))]
    for name in names:
        MUTATIONS[name](model, rng)
    return " + ".join(names), model.SerializeToString()


def _dims(model: Any, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    if tensor.dims and rng.random() < 0.8:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((*NUMBERS, 2**62, -(2**62)))
    else:
        tensor.dims.append(rng.choice(NUMBERS))


def _raw(model: Any, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.raw_data = (
        tensor.raw_data[: len(tensor.raw_data) // 2] if rng.random() < 0.7 else tensor.raw_data * 3
    )


def _data_type(model: Any, rng: random.Random) -> None:
    rng.choice(model.graph.initializer).data_type = rng.choice((*range(24), 1000, -1))


LOCATIONS = (
    "/etc/passwd",
    "../../../../../../etc/passwd",
    "/dev/zero",
    "weights.bin",
    "",
    "/dev/stdin",
    "a\0b",
)


def _external(model: Any, rng: random.Random) -> None:
    """Declare that weights lie in another file."""
    tensor = rng.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    facts = {
        "location": rng.choice(LOCATIONS),
        "offset": str(rng.choice(NUMBERS)),
        "length": str(rng.choice(NUMBERS)),
    }
    for key, value in facts.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _port_dims(model: Any, rng: random.Random) -> None:
    port = rng.choice((*model.graph.input, *model.graph.output))
    dims = port.type.tensor_type.shape.dim
    if dims:
        rng.choice(dims).dim_value = rng.choice(NUMBERS)


def _elem_type(model: Any, rng: random.Random) -> None:
    port = rng.choice((*model.graph.input, *model.graph.output))
    port.type.tensor_type.elem_type = rng.choice((*range(24), 1000))


def _op_type(model: Any, rng: random.Random) -> None:
    kinds = (
        "Reshape",
        "Loop",
        "If",
        "Resize",
        "Tile",
        "Expand",
        "Gather",
        "Pad",
        "Identity",
        "NoSuchOp",
        "",
        "MaxPool",
        "Conv",
        "ConstantOfShape",
        "Range",
        "Upsample",
        "Softmax",
        "\x1b[2J",
    )
    rng.choice(model.graph.node).op_type = rng.choice(kinds)


def _domain(model: Any, rng: random.Random) -> None:
    rng.choice(model.graph.node).domain = rng.choice(
        ("ai.onnx.ml", "com.microsoft", "no.such", "ai.onnx.training")
    )


def _node_names(model: Any, rng: random.Random) -> None:
    node, two = rng.choice(model.graph.node), rng.choice(model.graph.node)
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice((*two.output, "", "nowhere", *node.output))


def _node_drop(model: Any, rng: random.Random) -> None:
    kind = rng.choice((model.graph.node, model.graph.initializer, model.graph.input, model.graph.output))
    del kind[rng.randrange(len(kind))]


def _attribute(model: Any, rng: random.Random) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    attribute = rng.choice(attributes)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice((*NUMBERS, 2**62))
    else:
        attribute.i = rng.choice((*NUMBERS, 2**62))


def _opset(model: Any, rng: random.Random) -> None:
    rng.choice(model.opset_import).version = rng.choice((0, 1, 5, 12, 30, 10**6, -1))


def _ir(model: Any, rng: random.Random) -> None:
    model.ir_version = rng.choice((0, 1, 3, 50, -1, 2**40))


def _properties(model: Any, rng: random.Random) -> None:
    entry = model.metadata_props.add()
    entry.key = "labels"
    entry.value = rng.choice(
        ("[", "[1, 2]", '["a"]', "{}", "[" * 100_000, '"x"', "null", "[[[]]]", "\x1b[2J")
    )
    if rng.random() < 0.7:
        other_entries = [entry for entry in model.metadata_props if entry.key != "labels"]
        del model.metadata_props[:]
        model.metadata_props.extend([*other_entries, entry])


def _function(model: Any, rng: random.Random) -> None:
    """Add a function that calls itself."""
    function = model.functions.add()
    function.name, function.domain = "again", "mine"
    function.input.append("x")
    function.output.append("y")
    function.opset_import.add().version = 17
    entry = function.opset_import.add()
    entry.domain, entry.version = "mine", 1
    node = function.node.add()
    node.op_type, node.domain = "again", "mine"
    node.input.append("x")
    node.output.append("y")
    entry = model.opset_import.add()
    entry.domain, entry.version = "mine", 1
    caller = rng.choice(model.graph.node)
    caller.op_type, caller.domain = "again", "mine"
    del caller.attribute[:]


def _shuffled_nodes(model: Any, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


MUTATIONS: dict[str, Change] = {
    "dims": _dims,
    "raw data": _raw,
    "data type": _data_type,
    "external data": _external,
    "port dims": _port_dims,
    "element type": _elem_type,
    "operator": _op_type,
    "domain": _domain,
    "names": _node_names,
    "parts dropped": _node_drop,
    "attribute": _attribute,
    "opset": _opset,
    "IR version": _ir,
    "labels": _properties,
    "function of itself": _function,
    "order": _shuffled_nodes,
}
