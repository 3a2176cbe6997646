"""A float32 `.tflite` model as objects that can be read and changed: layers, biases, ranges.

Quantization works here rather than in Keras, because here batch norm is folded, every layer has
its bias, and what is changed is what the quantizer sees. Field names are those of the public
`schema.fbs` of TensorFlow Lite, through the classes that LiteRT ships for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tledge.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Operators whose weights are rounded, and the axis of the weights with a scale per entry."""

INPUT, WEIGHTS, BIAS = 0, 1, 2


@dataclass(frozen=True)
class Linear:
    """One linear operator: numbers of its tensors, and how its kernel moves over the input.

    `name` is that of its output; `strides` and `dilations` are (down, right).
    """

    name: str
    kind: str
    input: int
    weights: int
    bias: int
    output: int
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    same_padding: bool = False

    @property
    def channel_axis(self) -> int:
        """Axis of the weights that has one scale per entry."""
        return CHANNEL_AXIS[self.kind]


class FloatGraph:
    """The one subgraph of a float `.tflite`; raises ConversionError where there are more."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated

        self._schema: Any = schema_py_generated
        self.model = self._schema.ModelT.InitFromPackedBuf(data, 0)
        if len(self.model.subgraphs) != 1:
            raise ConversionError(f"the float graph has {len(self.model.subgraphs)} subgraphs, expected one.")
        self.graph = self.model.subgraphs[0]

    def copy(self) -> FloatGraph:
        """Another graph like this one; changing either leaves the other as it is."""
        made = FloatGraph.__new__(FloatGraph)
        made._schema, made.model = self._schema, deepcopy(self.model)
        made.graph = made.model.subgraphs[0]
        return made

    def pack(self) -> bytes:
        """The flatbuffer of the graph as it is now."""
        import flatbuffers

        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def drop_unused(self) -> None:
        """Remove tensors that no operator reads or writes, and what they hold.

        A quantizer that writes new biases leaves the old ones behind: floats that nothing computes with.
        """
        operators = self.graph.operators
        ports = [self.graph.inputs, self.graph.outputs]
        used = {int(one) for port in (*ports, *(p for op in operators for p in _ports(op))) for one in port}
        kept = sorted(used - {-1})
        place = {-1: -1, **{old: new for new, old in enumerate(kept)}}
        self.graph.tensors = [self.graph.tensors[old] for old in kept]
        self.graph.inputs, self.graph.outputs = ([place[int(one)] for one in port] for port in ports)
        for one in operators:
            one.inputs, one.outputs = ([place[int(number)] for number in port] for port in _ports(one))
        for signature in self.model.signatureDefs or ():
            for port in (*signature.inputs, *signature.outputs):
                port.tensorIndex = place[int(port.tensorIndex)]
        held = {one.buffer for one in self.graph.tensors} | {one.buffer for one in self.model.metadata or ()}
        for number, buffer in enumerate(self.model.buffers):
            if number not in held:
                buffer.data = None

    @property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the tensors that the graph takes."""
        return tuple(int(one) for one in self.graph.inputs)

    @cached_property
    def activations(self) -> tuple[int, ...]:
        """Numbers of the float tensors that are computed."""
        kind = self._schema.TensorType.FLOAT32
        return tuple(
            number
            for number, tensor in enumerate(self.graph.tensors)
            if tensor.type == kind and not self._has_data(number)
        )

    def operators(self) -> list[tuple[str, Any]]:
        """Every operator and the name of its kind, in the order of computing."""
        names = {code: name for name, code in vars(self._schema.BuiltinOperator).items()}
        codes = [max(one.builtinCode, one.deprecatedBuiltinCode) for one in self.model.operatorCodes]
        return [(names[codes[operator.opcodeIndex]], operator) for operator in self.graph.operators]

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """Every operator with weights of its own, in the order of computing."""
        return tuple(
            self._linear(kind, operator)
            for kind, operator in self.operators()
            if kind in CHANNEL_AXIS and self._has_data(operator.inputs[WEIGHTS])
        )

    @property
    def linear_inputs(self) -> tuple[int, ...]:
        """Numbers of the tensors that operators with weights read, each once."""
        return tuple(dict.fromkeys(one.input for one in self.linears))

    def _linear(self, kind: str, operator: Any) -> Linear:
        inputs, output = [int(one) for one in operator.inputs], int(operator.outputs[0])
        place = (self.name(output), kind, inputs[INPUT], inputs[WEIGHTS])
        bias = inputs[BIAS] if len(inputs) > BIAS else -1
        options = operator.builtinOptions
        if kind == "FULLY_CONNECTED":
            return Linear(*place, bias, output)
        return Linear(
            *place,
            bias,
            output,
            (options.strideH, options.strideW),
            (options.dilationHFactor, options.dilationWFactor),
            options.padding == self._schema.Padding.SAME,
        )

    def name(self, tensor: int) -> str:
        """A tensor's name."""
        return str(self.graph.tensors[tensor].name.decode())

    def _has_data(self, tensor: int) -> bool:
        return self.model.buffers[self.graph.tensors[tensor].buffer].data is not None

    def values(self, tensor: int) -> NDArray[np.float32]:
        """A copy of a constant's values, float32 in the tensor's own shape."""
        import numpy as np

        found = self.graph.tensors[tensor]
        raw = np.asarray(self.model.buffers[found.buffer].data, np.uint8).tobytes()
        return np.frombuffer(raw, np.float32).reshape(found.shape).copy()

    def set_values(self, tensor: int, values: NDArray[np.float32]) -> None:
        """Give a constant other values of the same shape, in a buffer that no other tensor shares."""
        import numpy as np

        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[tensor].buffer = len(self.model.buffers) - 1

    def bias(self, linear: Linear) -> NDArray[np.float32]:
        """An operator's bias float32[channels], zeros where it has none."""
        import numpy as np

        channels = self.graph.tensors[linear.weights].shape[linear.channel_axis]
        return self.values(linear.bias) if linear.bias >= 0 else np.zeros(channels, np.float32)

    def set_bias(self, linear: Linear, values: NDArray[np.float32]) -> None:
        """Give an operator a bias of its own, float32[channels]; others may have shared the old one."""
        tensor = self._schema.TensorT()
        tensor.name = f"{linear.name}/bias".encode()
        tensor.type, tensor.shape = self._schema.TensorType.FLOAT32, list(values.shape)
        self.graph.tensors.append(tensor)
        number = len(self.graph.tensors) - 1
        self.set_values(number, values)
        for operator in self.graph.operators:
            if int(operator.outputs[0]) == linear.output:
                operator.inputs = [*operator.inputs[:BIAS], number]
        self.__dict__.pop("linears", None)  # the cached property names the old bias

    def set_ranges(self, ranges: Mapping[int, tuple[float, float]]) -> None:
        """Note the least and largest value of computed tensors, as the quantizer reads them."""
        for tensor, (low, high) in ranges.items():
            found = self._schema.QuantizationParametersT()
            found.min, found.max = [low], [high]
            self.graph.tensors[tensor].quantization = found

    def take_bytes(self) -> None:
        """Put a cast in front, so that the model takes uint8 pixels."""
        schema, graph = self._schema, self.graph
        number = int(graph.inputs[0])
        image = schema.TensorT()
        image.name, image.type = graph.tensors[number].name, schema.TensorType.UINT8
        image.shape, image.shapeSignature = graph.tensors[number].shape, graph.tensors[number].shapeSignature
        image.buffer = self._empty_buffer()
        graph.tensors[number].name = image.name + b"/float32"
        graph.tensors.append(image)
        made = len(graph.tensors) - 1
        graph.operators.insert(0, self._cast(made, number))
        graph.inputs = [made]
        for signature in self.model.signatureDefs or ():
            for port in signature.inputs:
                port.tensorIndex = made if port.tensorIndex == number else port.tensorIndex

    def _empty_buffer(self) -> int:
        self.model.buffers.append(self._schema.BufferT())
        return len(self.model.buffers) - 1

    def _cast(self, source: int, target: int) -> Any:
        options = self._schema.CastOptionsT()
        kinds = self._schema.TensorType
        options.inDataType, options.outDataType = kinds.UINT8, kinds.FLOAT32
        return self._operator("CAST", options, source, target)

    def fake_quantize(self, tensor: int, low: float, high: float) -> None:
        """Let whatever reads a computed tensor see it in 8 bits over the range low..high, which holds 0."""
        graph, number = self.graph, len(self.graph.tensors)
        seen, source = self._schema.TensorT(), graph.tensors[tensor]
        seen.name, seen.type, seen.buffer = source.name + b"/8bit", source.type, self._empty_buffer()
        seen.shape, seen.shapeSignature = source.shape, source.shapeSignature
        graph.tensors.append(seen)

        def instead(numbers: Any) -> list[int]:
            return [number if int(one) == tensor else int(one) for one in numbers]

        for operator in graph.operators:
            operator.inputs = instead(operator.inputs)
        graph.outputs = instead(graph.outputs)
        for signature in self.model.signatureDefs or ():
            for port in signature.outputs:
                port.tensorIndex = number if port.tensorIndex == tensor else port.tensorIndex
        options = self._schema.FakeQuantOptionsT()
        options.min, options.max, options.numBits = min(low, 0.0), max(high, 0.0), 8
        made = [place for place, one in enumerate(graph.operators) if tensor in map(int, one.outputs)]
        graph.operators.insert(made[0] + 1, self._operator("FAKE_QUANT", options, tensor, number))

    def _operator(self, kind: str, options: Any, source: int, target: int) -> Any:
        """An operator from one tensor to another; `options` is of the class that its kind has."""
        schema = self._schema
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = [source], [target]
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = options
        return operator


def _ports(operator: Any) -> tuple[Any, Any]:
    """Numbers of the tensors that an operator reads, and of those that it writes."""
    return operator.inputs, operator.outputs
