"""Model files changed by bytes and by structure: `.tflite`, `.onnx` and `.keras`, every change with a name."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

NUMBERS = (-(2**31), -1000, -2, -1, 0, 1, 2, 3, 7, 255, 65536, 10**6, 10**9, 2**31 - 1)
"""What a dimension, an index or a count becomes."""

FLOATS = (0.0, -1.0, 1e-45, 1e38, float("inf"), float("nan"))

Change = Callable[[Any, random.Random], None]
"""Changes a parsed model in place."""


def by_bytes(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Bits flipped, bytes put in or taken out, a cut, a stretch of zeros or of another place."""
    at = chance.randrange(len(whole))
    size = min(len(whole) - at, chance.choice((1, 4, 64, 4096)))
    kind = chance.choice(("flip", "flips", "cut", "zeros", "number", "moved", "gone", "put in"))
    if kind in ("flip", "flips"):
        made = bytearray(whole)
        for _ in range(1 if kind == "flip" else 30):
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
        return kind, bytes(made)
    if kind == "cut":
        return kind, whole[:at]
    other = chance.randrange(len(whole))
    middle = {
        "zeros": bytes(size),
        "number": chance.choice(NUMBERS).to_bytes(4, "little", signed=True),
        "moved": whole[other : other + size],
        "gone": b"",
        "put in": chance.randbytes(size) + whole[at : at + size],
    }[kind]
    taken = 4 if kind == "number" else size
    return kind, whole[:at] + middle + whole[at + taken :]


def tflite(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """One or two changes of a TFLite model's tables: a whole flatbuffer that says what cannot be."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(whole, 0)
    names = [chance.choice(sorted(TFLITE)) for _ in range(chance.choice((1, 1, 2)))]
    for name in names:
        TFLITE[name](model, chance)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    labels = whole[whole.rindex(b"PK\3\4") :] if b"PK\3\4" in whole else b""
    return " + ".join(names), bytes(builder.Output()) + labels


def _tensor(model: Any, chance: random.Random) -> Any:
    return chance.choice(model.subgraphs[0].tensors)


def _operator(model: Any, chance: random.Random) -> Any:
    return chance.choice(model.subgraphs[0].operators)


def _element(values: Any, made: Any, chance: random.Random) -> list[Any]:
    """A list with one element changed."""
    found = [one.item() if hasattr(one, "item") else one for one in (values if values is not None else ())]
    if not found:
        return [made]
    found[chance.randrange(len(found))] = made
    return found


def _shape(model: Any, chance: random.Random) -> None:
    tensor = _tensor(model, chance)
    tensor.shape = _element(tensor.shape, chance.choice(NUMBERS), chance)


def _port_shape(model: Any, chance: random.Random) -> None:
    graph = model.subgraphs[0]
    tensor = graph.tensors[chance.choice([*graph.inputs, *graph.outputs])]
    tensor.shape = _element(tensor.shape, chance.choice(NUMBERS), chance)


def _rank(model: Any, chance: random.Random) -> None:
    _tensor(model, chance).shape = [
        chance.choice((0, 1, 2, 50000)) for _ in range(chance.choice((0, 1, 3, 5, 9, 40)))
    ]


def _buffer(model: Any, chance: random.Random) -> None:
    _tensor(model, chance).buffer = chance.choice(
        (0, 1, len(model.buffers) - 1, len(model.buffers), 2**31, 2**32 - 1)
    )


def _data(model: Any, chance: random.Random) -> None:
    buffer = chance.choice(model.buffers)
    if buffer.data is not None and len(buffer.data):
        buffer.data = buffer.data[: chance.choice((1, 3, len(buffer.data) // 2, len(buffer.data) - 1))]


def _outside(model: Any, chance: random.Random) -> None:
    buffer = chance.choice(model.buffers)
    buffer.offset, buffer.size = chance.choice((2, 100, 2**31, 2**63)), chance.choice((2, 100, 2**31, 2**63))


def _type(model: Any, chance: random.Random) -> None:
    _tensor(model, chance).type = chance.choice((*range(20), 100, -1))


def _scale(model: Any, chance: random.Random) -> None:
    found = _quantized(model, chance)
    found.scale = [chance.choice(FLOATS)] * chance.choice((0, 1, 2, 1000))


def _zero_point(model: Any, chance: random.Random) -> None:
    found = _quantized(model, chance)
    found.zeroPoint = [chance.choice(NUMBERS)] * chance.choice((0, 1, 2, 1000))


def _axis(model: Any, chance: random.Random) -> None:
    _quantized(model, chance).quantizedDimension = chance.choice(NUMBERS)


def _quantized(model: Any, chance: random.Random) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    tensor = _tensor(model, chance)
    tensor.quantization = tensor.quantization or schema.QuantizationParametersT()
    return tensor.quantization


def _input(model: Any, chance: random.Random) -> None:
    one = _operator(model, chance)
    one.inputs = _element(one.inputs, _index(model, chance), chance)


def _output(model: Any, chance: random.Random) -> None:
    one = _operator(model, chance)
    one.outputs = _element(one.outputs, _index(model, chance), chance)


def _ports(model: Any, chance: random.Random) -> None:
    graph = model.subgraphs[0]
    graph.inputs = _element(graph.inputs, _index(model, chance), chance)
    if chance.random() < 0.5:
        graph.outputs = chance.choice(([], _element(graph.outputs, _index(model, chance), chance), [0, 0]))


def _index(model: Any, chance: random.Random) -> int:
    count = len(model.subgraphs[0].tensors)
    return chance.choice((*range(count), count, count + 1000, -1, -2, 2**31 - 1, -(2**31)))


def _no_arguments(model: Any, chance: random.Random) -> None:
    one = _operator(model, chance)
    one.inputs = chance.choice(([], list(one.inputs) * 40, list(one.inputs)[:1]))


def _code(model: Any, chance: random.Random) -> None:
    one = chance.choice(model.operatorCodes)
    one.builtinCode = chance.choice((*range(210), 32, 10**6, -5))
    one.deprecatedBuiltinCode = max(-128, min(127, one.builtinCode))
    one.version = chance.choice((0, 1, 2, 5, 10**6, one.version))


def _custom(model: Any, chance: random.Random) -> None:
    one = chance.choice(model.operatorCodes)
    one.builtinCode = one.deprecatedBuiltinCode = 32
    one.customCode = chance.choice((b"", b"Flex", b"TFLite_Detection_PostProcess", b"x" * 5000, b"\x1b[2J"))


def _opcode(model: Any, chance: random.Random) -> None:
    _operator(model, chance).opcodeIndex = chance.choice((0, len(model.operatorCodes), 10**6, 2**32 - 1))


def _options(model: Any, chance: random.Random) -> None:
    """A number in an operator's options: strides, paddings, axes, activations."""
    options = _operator(model, chance).builtinOptions
    names = [name for name, value in vars(options).items() if isinstance(value, int)] if options else []
    if names:
        setattr(options, chance.choice(names), chance.choice((*(n for n in NUMBERS if n < 100), 127, -128))
                if chance.random() < 0.7 else 2)  # fmt: skip


def _no_options(model: Any, chance: random.Random) -> None:
    one = _operator(model, chance)
    one.builtinOptions, one.builtinOptionsType = None, 0


def _other_options(model: Any, chance: random.Random) -> None:
    one, two = _operator(model, chance), _operator(model, chance)
    one.builtinOptions, one.builtinOptionsType = two.builtinOptions, two.builtinOptionsType


def _order(model: Any, chance: random.Random) -> None:
    chance.shuffle(model.subgraphs[0].operators)


def _cycle(model: Any, chance: random.Random) -> None:
    one = _operator(model, chance)
    one.inputs = [*one.outputs, *list(one.inputs)[1:]]


def _drop(model: Any, chance: random.Random) -> None:
    from copy import copy

    kind = chance.choice(("operators", "tensors", "buffers", "subgraphs", "twice"))
    if kind == "subgraphs":
        model.subgraphs = []
    elif kind == "twice":
        model.subgraphs = [copy(model.subgraphs[0]) for _ in range(3)]
    elif kind == "buffers":
        del model.buffers[chance.randrange(len(model.buffers)) :]
    else:
        del getattr(model.subgraphs[0], kind)[chance.randrange(4) :]


def _variable(model: Any, chance: random.Random) -> None:
    _tensor(model, chance).isVariable = True


def _signature(model: Any, chance: random.Random) -> None:
    tensor = _tensor(model, chance)
    tensor.shapeSignature = _element(tensor.shape, chance.choice(NUMBERS), chance)


def _name(model: Any, chance: random.Random) -> None:
    _tensor(model, chance).name = chance.choice((b"", b"\x1b[31mred", b"\xff\xfe", b"n" * 100000))


TFLITE: dict[str, Change] = {
    "shape": _shape, "input or output shape": _port_shape, "rank": _rank, "buffer number": _buffer,
    "short buffer": _data, "buffer elsewhere": _outside, "tensor type": _type, "scales": _scale,
    "zero points": _zero_point, "quantized axis": _axis, "operator input": _input, "operator output": _output,
    "graph ports": _ports, "arguments": _no_arguments, "operator code": _code, "custom operator": _custom,
    "opcode number": _opcode, "options": _options, "no options": _no_options, "other options": _other_options,
    "order": _order, "cycle": _cycle, "parts dropped": _drop, "variable": _variable, "shape signature": _signature,
    "tensor name": _name,
}  # fmt: skip


def onnx(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
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
    kinds = ("Reshape", "Loop", "If", "Resize", "Tile", "Expand", "Gather", "Pad", "Identity", "NoSuchOp", "",
             "MaxPool", "Conv", "ConstantOfShape", "Range", "Upsample", "Softmax", "\x1b[2J")  # fmt: skip
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
    "dims": _dims, "raw data": _raw, "data type": _data_type, "external data": _external, "port dims": _port_dims,
    "element type": _elem_type, "operator": _op_type, "domain": _domain, "names": _node_names,
    "parts dropped": _node_drop, "attribute": _attribute, "opset": _opset, "IR version": _ir, "labels": _properties,
    "function of itself": _function, "order": _backwards,
}  # fmt: skip


MARK = "/nonexistent/ran.txt"
"""What code that ought not to run would write."""


def keras(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """A change of a Keras file's configuration or weights."""
    with zipfile.ZipFile(io.BytesIO(whole)) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    name = chance.choice(sorted(KERAS))
    KERAS[name](parts, chance)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for one, data in parts.items():
            made.writestr(one, data)
    return name, out.getvalue()


def _config(edit: Change) -> Change:
    """A change of the configuration, given one of its layers."""

    def change(parts: dict[str, bytes], chance: random.Random) -> None:
        raw = json.loads(parts["config.json"])
        layers = [one for one in raw["config"]["layers"] if one["class_name"] != "InputLayer"]
        edit(chance.choice(layers), chance)
        parts["config.json"] = json.dumps(raw).encode()

    return change


def _as(**facts: Any) -> Change:
    return _config(lambda layer, chance: layer.update(facts))


def _lambda(layer: Any, chance: random.Random) -> None:
    """Python code, as Keras itself would have saved it."""
    import base64
    import marshal

    scope: dict[str, Any] = {}
    exec(f"def f(x):\n    open({MARK!r}, 'a').write('Lambda ran')\n    return x", scope)
    code = base64.b64encode(marshal.dumps(scope["f"].__code__)).decode()
    function = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    layer.update(module="keras.layers", class_name="Lambda", registered_name=None)
    layer["config"] = {
        "name": layer["config"].get("name", "x"),
        "trainable": True,
        "dtype": "float32",
        "function": function,
    }


def _command(layer: Any, chance: random.Random) -> None:
    """A function of another module in the place of an activation, an initializer or the layer."""
    module, name = chance.choice((("os", "system"), ("subprocess", "call"), ("builtins", "exec"), ("posix", "system"),
                                  ("keras.src.utils.file_utils", "get_file"), ("builtins", "eval")))  # fmt: skip
    made = {"module": module, "class_name": name, "config": f"touch {MARK}", "registered_name": name}
    if chance.random() < 0.5:
        layer["config"][chance.choice(("activation", "kernel_initializer", "dtype"))] = made
    else:
        layer.update(made, config={"command": f"touch {MARK}"})


def _function(layer: Any, chance: random.Random) -> None:
    layer["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "function",
    }


def _saved_model(layer: Any, chance: random.Random) -> None:
    """A layer that would load a program from elsewhere."""
    layer.update(module="keras.layers", class_name="TFSMLayer", registered_name=None)
    layer["config"] = {
        "name": layer["config"].get("name", "x"),
        "filepath": "/tmp/elsewhere",
        "call_endpoint": "serve",
    }


def _layer_value(layer: Any, chance: random.Random) -> None:
    names = sorted(layer["config"])
    layer["config"][chance.choice(names)] = chance.choice(
        (*NUMBERS, "text", None, [], {}, float("nan"), "\x1b[2J", "../x")
    )


def _filters(layer: Any, chance: random.Random) -> None:
    for name in ("filters", "units", "kernel_size", "strides"):
        if name in layer["config"]:
            layer["config"][name] = chance.choice((0, -1, 10**6, 10**9, 2**62))


def _text(data: bytes) -> Change:
    return lambda parts, chance: parts.update({"config.json": data})


def _weights(edit: Change) -> Change:
    """A change of the weights' HDF5 file."""

    def change(parts: dict[str, bytes], chance: random.Random) -> None:
        import h5py

        stream = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(stream, "r+") as file:
            edit(file, chance)
        parts["model.weights.h5"] = stream.getvalue()

    return change


def _dataset(file: Any, chance: random.Random) -> str:
    import h5py

    names: list[str] = []
    file.visititems(lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None)
    return chance.choice(names)


def _outside_link(file: Any, chance: random.Random) -> None:
    import h5py

    name = _dataset(file, chance)
    del file[name]
    file[name] = h5py.ExternalLink(chance.choice(("/etc/passwd", "../other.h5", "/dev/zero")), "/x")


def _outside_storage(file: Any, chance: random.Random) -> None:
    """Bytes of another file in the place of weights."""
    name = _dataset(file, chance)
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, 1 << 20)])


def _outside_mapping(file: Any, chance: random.Random) -> None:
    import h5py

    name = _dataset(file, chance)
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, kind)
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape)
    file.create_virtual_dataset(name, layout)


def _other_shape(file: Any, chance: random.Random) -> None:
    name = _dataset(file, chance)
    del file[name]
    file.create_dataset(
        name, chance.choice(((), (1,), (0,), (10**9, 10**3))), "f4", fillvalue=0.0, chunks=None
    )


def _other_type(file: Any, chance: random.Random) -> None:
    name = _dataset(file, chance)
    del file[name]
    file[name] = chance.choice((b"pickled?", "text", [1, 2, 3]))


def _circle(file: Any, chance: random.Random) -> None:
    import h5py

    name = _dataset(file, chance)
    del file[name]
    file[name] = h5py.SoftLink("/" + name)


def _slip(parts: dict[str, bytes], chance: random.Random) -> None:
    parts[
        chance.choice(("assets/../../../escaped.txt", "/tmp/tledge-torture-escaped.txt", "../escaped.txt"))
    ] = b"harm"


KERAS: dict[str, Change] = {
    "Lambda": _config(_lambda), "another module": _config(_command), "another function": _config(_function),
    "SavedModel": _config(_saved_model), "a value": _config(_layer_value), "sizes": _config(_filters),
    "unknown class": _as(class_name="NoSuchLayer"), "registered": _as(registered_name="mine>Own", module=None),
    "deep": _text(b"[" * 100_000), "deep objects": _text(b'{"a":' * 100_000), "no config": _text(b"{}"),
    "huge config": _text(b'{"a": "' + b"x" * 50_000_000 + b'"}'), "links": _weights(_outside_link),
    "outside storage": _weights(_outside_storage), "outside mapping": _weights(_outside_mapping),
    "another shape": _weights(_other_shape), "another type": _weights(_other_type), "circle": _weights(_circle),
    "slip": _slip,
    "metadata": lambda parts, chance: parts.update({"metadata.json": chance.choice((b"", b"[", b'{"keras_version": 3}'))}),
    "no weights": lambda parts, chance: parts.pop("model.weights.h5"),  # type: ignore[func-returns-value]
    "weights cut": lambda parts, chance: parts.update({"model.weights.h5": parts["model.weights.h5"][:-5000]}),
    "pickle": lambda parts, chance: parts.update({"model.weights.h5": b"\x80\x04\x95cposix\nsystem\n."}),
}  # fmt: skip
