"""TFLite models changed by structure: whole flatbuffers that say what cannot be."""

from __future__ import annotations

import random
from typing import Any

from torture.inputs.model_mutations import FLOATS, NUMBERS, Change


def changed(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
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
        setattr(
            options,
            chance.choice(names),
            chance.choice((*(n for n in NUMBERS if n < 100), 127, -128)) if chance.random() < 0.7 else 2,
        )


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
