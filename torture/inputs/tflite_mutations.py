"""TFLite models changed by structure: complete flatbuffers that say what cannot be."""

from __future__ import annotations

import random
from typing import Any

from torture.inputs.model_mutations import FLOATS, NUMBERS, Change


def mutate(model_bytes: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change a TFLite model's tables once or twice: a complete flatbuffer that says what cannot be."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(model_bytes, 0)
    names = [rng.choice(sorted(MUTATIONS)) for _ in range(rng.choice((1, 1, 2)))]
    for name in names:
        MUTATIONS[name](model, rng)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    labels = model_bytes[model_bytes.rindex(b"PK\3\4") :] if b"PK\3\4" in model_bytes else b""
    return " + ".join(names), bytes(builder.Output()) + labels


def without_scales(model_bytes: bytes) -> bytes:
    """Set all quantization scales to 0: a complete flatbuffer on which XNNPACK ends with SIGSEGV."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(model_bytes, 0)
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization and tensor.quantization.scale is not None:
            tensor.quantization.scale = [0.0] * len(tensor.quantization.scale)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(model: Any, rng: random.Random) -> Any:
    return rng.choice(model.subgraphs[0].tensors)


def _operator(model: Any, rng: random.Random) -> Any:
    return rng.choice(model.subgraphs[0].operators)


def _with_changed_element(values: Any, new_element: Any, rng: random.Random) -> list[Any]:
    """Replace one element of a list."""
    elements = [
        element.item() if hasattr(element, "item") else element
        for element in (values if values is not None else ())
    ]
    if not elements:
        return [new_element]
    elements[rng.randrange(len(elements))] = new_element
    return elements


def _shape(model: Any, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    tensor.shape = _with_changed_element(tensor.shape, rng.choice(NUMBERS), rng)


def _port_shape(model: Any, rng: random.Random) -> None:
    graph = model.subgraphs[0]
    tensor = graph.tensors[rng.choice([*graph.inputs, *graph.outputs])]
    tensor.shape = _with_changed_element(tensor.shape, rng.choice(NUMBERS), rng)


def _rank(model: Any, rng: random.Random) -> None:
    _tensor(model, rng).shape = [rng.choice((0, 1, 2, 50000)) for _ in range(rng.choice((0, 1, 3, 5, 9, 40)))]


def _buffer(model: Any, rng: random.Random) -> None:
    _tensor(model, rng).buffer = rng.choice(
        (0, 1, len(model.buffers) - 1, len(model.buffers), 2**31, 2**32 - 1)
    )


def _data(model: Any, rng: random.Random) -> None:
    buffer = rng.choice(model.buffers)
    if buffer.data is not None and len(buffer.data):
        buffer.data = buffer.data[: rng.choice((1, 3, len(buffer.data) // 2, len(buffer.data) - 1))]


def _outside(model: Any, rng: random.Random) -> None:
    buffer = rng.choice(model.buffers)
    buffer.offset, buffer.size = rng.choice((2, 100, 2**31, 2**63)), rng.choice((2, 100, 2**31, 2**63))


def _type(model: Any, rng: random.Random) -> None:
    _tensor(model, rng).type = rng.choice((*range(20), 100, -1))


def _scale(model: Any, rng: random.Random) -> None:
    quantization = _quantized(model, rng)
    quantization.scale = [rng.choice(FLOATS)] * rng.choice((0, 1, 2, 1000))


def _zero_point(model: Any, rng: random.Random) -> None:
    quantization = _quantized(model, rng)
    quantization.zeroPoint = [rng.choice(NUMBERS)] * rng.choice((0, 1, 2, 1000))


def _axis(model: Any, rng: random.Random) -> None:
    _quantized(model, rng).quantizedDimension = rng.choice(NUMBERS)


def _quantized(model: Any, rng: random.Random) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    tensor = _tensor(model, rng)
    tensor.quantization = tensor.quantization or schema.QuantizationParametersT()
    return tensor.quantization


def _input(model: Any, rng: random.Random) -> None:
    operator = _operator(model, rng)
    operator.inputs = _with_changed_element(operator.inputs, _index(model, rng), rng)


def _output(model: Any, rng: random.Random) -> None:
    operator = _operator(model, rng)
    operator.outputs = _with_changed_element(operator.outputs, _index(model, rng), rng)


def _ports(model: Any, rng: random.Random) -> None:
    graph = model.subgraphs[0]
    graph.inputs = _with_changed_element(graph.inputs, _index(model, rng), rng)
    if rng.random() < 0.5:
        graph.outputs = rng.choice(
            ([], _with_changed_element(graph.outputs, _index(model, rng), rng), [0, 0])
        )


def _index(model: Any, rng: random.Random) -> int:
    count = len(model.subgraphs[0].tensors)
    return rng.choice((*range(count), count, count + 1000, -1, -2, 2**31 - 1, -(2**31)))


def _no_arguments(model: Any, rng: random.Random) -> None:
    operator = _operator(model, rng)
    operator.inputs = rng.choice(([], list(operator.inputs) * 40, list(operator.inputs)[:1]))


def _code(model: Any, rng: random.Random) -> None:
    code = rng.choice(model.operatorCodes)
    code.builtinCode = rng.choice((*range(210), 32, 10**6, -5))
    code.deprecatedBuiltinCode = max(-128, min(127, code.builtinCode))
    code.version = rng.choice((0, 1, 2, 5, 10**6, code.version))


def _custom(model: Any, rng: random.Random) -> None:
    code = rng.choice(model.operatorCodes)
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = rng.choice((b"", b"Flex", b"TFLite_Detection_PostProcess", b"x" * 5000, b"\x1b[2J"))


def _opcode(model: Any, rng: random.Random) -> None:
    _operator(model, rng).opcodeIndex = rng.choice((0, len(model.operatorCodes), 10**6, 2**32 - 1))


def _options(model: Any, rng: random.Random) -> None:
    """Change a number in an operator's options: strides, paddings, axes, activations."""
    options = _operator(model, rng).builtinOptions
    names = [name for name, value in vars(options).items() if isinstance(value, int)] if options else []
    if names:
        setattr(
            options,
            rng.choice(names),
            rng.choice((*(n for n in NUMBERS if n < 100), 127, -128)) if rng.random() < 0.7 else 2,
        )


def _no_options(model: Any, rng: random.Random) -> None:
    operator = _operator(model, rng)
    operator.builtinOptions, operator.builtinOptionsType = None, 0


def _other_options(model: Any, rng: random.Random) -> None:
    operator, two = _operator(model, rng), _operator(model, rng)
    operator.builtinOptions, operator.builtinOptionsType = two.builtinOptions, two.builtinOptionsType


def _order(model: Any, rng: random.Random) -> None:
    rng.shuffle(model.subgraphs[0].operators)


def _cycle(model: Any, rng: random.Random) -> None:
    operator = _operator(model, rng)
    operator.inputs = [*operator.outputs, *list(operator.inputs)[1:]]


def _drop(model: Any, rng: random.Random) -> None:
    from copy import copy

    kind = rng.choice(("operators", "tensors", "buffers", "subgraphs", "twice"))
    if kind == "subgraphs":
        model.subgraphs = []
    elif kind == "twice":
        model.subgraphs = [copy(model.subgraphs[0]) for _ in range(3)]
    elif kind == "buffers":
        del model.buffers[rng.randrange(len(model.buffers)) :]
    else:
        del getattr(model.subgraphs[0], kind)[rng.randrange(4) :]


def _variable(model: Any, rng: random.Random) -> None:
    _tensor(model, rng).isVariable = True


def _signature(model: Any, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    tensor.shapeSignature = _with_changed_element(tensor.shape, rng.choice(NUMBERS), rng)


def _name(model: Any, rng: random.Random) -> None:
    _tensor(model, rng).name = rng.choice((b"", b"\x1b[31mred", b"\xff\xfe", b"n" * 100000))


MUTATIONS: dict[str, Change] = {
    "shape": _shape,
    "input or output shape": _port_shape,
    "rank": _rank,
    "buffer number": _buffer,
    "short buffer": _data,
    "buffer elsewhere": _outside,
    "tensor type": _type,
    "scales": _scale,
    "zero points": _zero_point,
    "quantized axis": _axis,
    "operator input": _input,
    "operator output": _output,
    "graph ports": _ports,
    "arguments": _no_arguments,
    "operator code": _code,
    "custom operator": _custom,
    "opcode number": _opcode,
    "options": _options,
    "no options": _no_options,
    "other options": _other_options,
    "order": _order,
    "cycle": _cycle,
    "parts dropped": _drop,
    "variable": _variable,
    "shape signature": _signature,
    "tensor name": _name,
}
