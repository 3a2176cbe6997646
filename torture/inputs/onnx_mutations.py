"""ONNX models changed by structure."""

from __future__ import annotations

import random
from typing import Any

from torture.inputs.model_mutations import NUMBERS, Change


def changed(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """One or two changes of an ONNX model's graph."""
    import onnx as library

    model = library.ModelProto.FromString(whole)
    names = [chance.choice(sorted(ONNX)) for _ in range(chance.choice((1, 1, 2)))]
    for name in names:
        ONNX[name](model, chance)
    return " + ".join(names), model.SerializeToString()


def _dims(model: Any, chance: random.Random) -> None:
    one = chance.choice(model.graph.initializer)
    if one.dims and chance.random() < 0.8:
        one.dims[chance.randrange(len(one.dims))] = chance.choice((*NUMBERS, 2**62, -(2**62)))
    else:
        one.dims.append(chance.choice(NUMBERS))


def _raw(model: Any, chance: random.Random) -> None:
    one = chance.choice(model.graph.initializer)
    one.raw_data = one.raw_data[: len(one.raw_data) // 2] if chance.random() < 0.7 else one.raw_data * 3


def _data_type(model: Any, chance: random.Random) -> None:
    chance.choice(model.graph.initializer).data_type = chance.choice((*range(24), 1000, -1))


PLACES = ("/etc/passwd", "../../../../../../etc/passwd", "/dev/zero", "weights.bin", "", "/dev/stdin", "a\0b")


def _external(model: Any, chance: random.Random) -> None:
    """Weights said to lie in another file."""
    one = chance.choice(model.graph.initializer)
    one.ClearField("raw_data")
    one.data_location = 1
    facts = {
        "location": chance.choice(PLACES),
        "offset": str(chance.choice(NUMBERS)),
        "length": str(chance.choice(NUMBERS)),
    }
    for key, value in facts.items():
        entry = one.external_data.add()
        entry.key, entry.value = key, value


def _port_dims(model: Any, chance: random.Random) -> None:
    port = chance.choice((*model.graph.input, *model.graph.output))
    dims = port.type.tensor_type.shape.dim
    if dims:
        chance.choice(dims).dim_value = chance.choice(NUMBERS)


def _elem_type(model: Any, chance: random.Random) -> None:
    port = chance.choice((*model.graph.input, *model.graph.output))
    port.type.tensor_type.elem_type = chance.choice((*range(24), 1000))


def _op_type(model: Any, chance: random.Random) -> None:
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
    chance.choice(model.graph.node).op_type = chance.choice(kinds)


def _domain(model: Any, chance: random.Random) -> None:
    chance.choice(model.graph.node).domain = chance.choice(
        ("ai.onnx.ml", "com.microsoft", "no.such", "ai.onnx.training")
    )


def _node_names(model: Any, chance: random.Random) -> None:
    one, two = chance.choice(model.graph.node), chance.choice(model.graph.node)
    if one.input:
        one.input[chance.randrange(len(one.input))] = chance.choice((*two.output, "", "nowhere", *one.output))


def _node_drop(model: Any, chance: random.Random) -> None:
    kind = chance.choice((model.graph.node, model.graph.initializer, model.graph.input, model.graph.output))
    del kind[chance.randrange(len(kind))]


def _attribute(model: Any, chance: random.Random) -> None:
    found = [one for node in model.graph.node for one in node.attribute]
    one = chance.choice(found)
    if one.ints:
        one.ints[chance.randrange(len(one.ints))] = chance.choice((*NUMBERS, 2**62))
    else:
        one.i = chance.choice((*NUMBERS, 2**62))


def _opset(model: Any, chance: random.Random) -> None:
    chance.choice(model.opset_import).version = chance.choice((0, 1, 5, 12, 30, 10**6, -1))


def _ir(model: Any, chance: random.Random) -> None:
    model.ir_version = chance.choice((0, 1, 3, 50, -1, 2**40))


def _properties(model: Any, chance: random.Random) -> None:
    entry = model.metadata_props.add()
    entry.key = "labels"
    entry.value = chance.choice(
        ("[", "[1, 2]", '["a"]', "{}", "[" * 100_000, '"x"', "null", "[[[]]]", "\x1b[2J")
    )
    if chance.random() < 0.7:
        kept = [one for one in model.metadata_props if one.key != "labels"]
        del model.metadata_props[:]
        model.metadata_props.extend([*kept, entry])


def _function(model: Any, chance: random.Random) -> None:
    """A function that calls itself."""
    one = model.functions.add()
    one.name, one.domain = "again", "mine"
    one.input.append("x")
    one.output.append("y")
    one.opset_import.add().version = 17
    entry = one.opset_import.add()
    entry.domain, entry.version = "mine", 1
    node = one.node.add()
    node.op_type, node.domain = "again", "mine"
    node.input.append("x")
    node.output.append("y")
    entry = model.opset_import.add()
    entry.domain, entry.version = "mine", 1
    found = chance.choice(model.graph.node)
    found.op_type, found.domain = "again", "mine"
    del found.attribute[:]


def _backwards(model: Any, chance: random.Random) -> None:
    nodes = list(model.graph.node)
    chance.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


ONNX: dict[str, Change] = {
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
    "order": _backwards,
}
