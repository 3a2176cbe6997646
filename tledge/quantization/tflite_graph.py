"""Read and change a float32 `.tflite` model: its layers, biases and ranges.

Quantization works here rather than in Keras, because here batch norm is folded, every layer has
its bias, and what is changed is what the quantizer sees. Field names are those of the public
`schema.fbs` of TensorFlow Lite, through the classes that LiteRT ships for it; LiteRT's `flatbuffer_utils`
parses and packs. Its `read_model_from_bytearray` is not used: it renumbers empty buffers, which would
change the bytes of every artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tledge.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Operators whose weights are rounded; the axis of the weights that has one scale per entry."""

INPUT, WEIGHTS, BIAS = 0, 1, 2


@dataclass(frozen=True)
class Linear:
    """One linear operator: the numbers of its tensors, and how its kernel moves over the input.

    `name` is the name of its output tensor; `strides` and `dilations` are (vertical, horizontal).
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
        """The axis of the weights that has one scale per entry."""
        return CHANNEL_AXIS[self.kind]


class FloatGraph:
    """The only subgraph of a float `.tflite`; raises ConversionError where there are several."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated
        from ai_edge_litert.tools import flatbuffer_utils

        self._schema: Any = schema_py_generated
        self.model: Any = flatbuffer_utils.convert_bytearray_to_object(data)
        if len(self.model.subgraphs) != 1:
            raise ConversionError(f"the float graph has {len(self.model.subgraphs)} subgraphs, expected one.")
        self.graph = self.model.subgraphs[0]

    def copy(self) -> FloatGraph:
        """Copy the graph; changing either copy leaves the other unchanged."""
        other = FloatGraph.__new__(FloatGraph)
        other._schema, other.model = self._schema, deepcopy(self.model)
        other.graph = other.model.subgraphs[0]
        return other

    def pack(self) -> bytes:
        """Serialize the graph as it is now; equal graphs give equal bytes."""
        from ai_edge_litert.tools import flatbuffer_utils

        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))

    def drop_unused(self) -> None:
        """Remove tensors that no operator reads or writes, and the contents of their buffers.

        A quantizer that writes new biases leaves the old ones behind: floats that nothing computes with.
        """
        used = {int(tensor) for holder in (self.graph, *self.graph.operators) for tensor in _tensors(holder)}
        kept = sorted(used - {-1})
        self._renumber({-1: -1, **{old: new for new, old in enumerate(kept)}})
        self.graph.tensors = [self.graph.tensors[old] for old in kept]
        holders = (*self.graph.tensors, *(self.model.metadata or ()))
        in_use = {holder.buffer for holder in holders}
        for number, buffer in enumerate(self.model.buffers):
            if number not in in_use:
                buffer.data = None

    def _renumber(self, numbers: Mapping[int, int]) -> None:
        """Give tensors other numbers (old → new) wherever the graph and its signatures name them."""
        for holder in (self.graph, *self.graph.operators):
            holder.inputs = [numbers[int(tensor)] for tensor in holder.inputs]
            holder.outputs = [numbers[int(tensor)] for tensor in holder.outputs]
        for signature in self.model.signatureDefs or ():
            for port in (*signature.inputs, *signature.outputs):
                port.tensorIndex = numbers[int(port.tensorIndex)]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the graph's input tensors."""
        return tuple(int(tensor) for tensor in self.graph.inputs)

    @cached_property
    def activations(self) -> tuple[int, ...]:
        """Numbers of the float tensors that are computed, not constant."""
        float32 = self._schema.TensorType.FLOAT32
        return tuple(
            number
            for number, tensor in enumerate(self.graph.tensors)
            if tensor.type == float32 and not self._has_data(number)
        )

    def operators(self) -> list[tuple[str, Any]]:
        """List all operators as (kind, operator), in the order of execution; a kind is e.g. `CONV_2D`."""
        from ai_edge_litert.tools import flatbuffer_utils

        codes = range(len(self.model.operatorCodes))
        kinds = [str(flatbuffer_utils.opcode_to_name(self.model, code)) for code in codes]
        return [(kinds[operator.opcodeIndex], operator) for operator in self.graph.operators]

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """The operators that have constant weights, in the order of execution."""
        return tuple(
            self._linear(kind, operator)
            for kind, operator in self.operators()
            if kind in CHANNEL_AXIS and self._has_data(operator.inputs[WEIGHTS])
        )

    @property
    def linear_inputs(self) -> tuple[int, ...]:
        """Numbers of the tensors that linear operators read, each once."""
        return tuple(dict.fromkeys(linear.input for linear in self.linears))

    def _linear(self, kind: str, operator: Any) -> Linear:
        inputs, output = [int(tensor) for tensor in operator.inputs], int(operator.outputs[0])
        bias = inputs[BIAS] if len(inputs) > BIAS else -1
        linear = Linear(self.name(output), kind, inputs[INPUT], inputs[WEIGHTS], bias, output)
        if kind == "FULLY_CONNECTED":
            return linear
        options = operator.builtinOptions
        return replace(
            linear,
            strides=(options.strideH, options.strideW),
            dilations=(options.dilationHFactor, options.dilationWFactor),
            same_padding=options.padding == self._schema.Padding.SAME,
        )

    def name(self, tensor: int) -> str:
        """Return the name of a tensor, given its number."""
        return str(self.graph.tensors[tensor].name.decode())

    def _has_data(self, tensor: int) -> bool:
        return self.model.buffers[self.graph.tensors[tensor].buffer].data is not None

    def values(self, tensor: int) -> NDArray[np.float32]:
        """Copy the values of a constant tensor, float32 in the tensor's own shape."""
        import numpy as np

        constant = self.graph.tensors[tensor]
        raw = np.asarray(self.model.buffers[constant.buffer].data, np.uint8).tobytes()
        return np.frombuffer(raw, np.float32).reshape(constant.shape).copy()

    def set_values(self, tensor: int, values: NDArray[np.float32]) -> None:
        """Replace the values of a constant tensor, same shape, in a buffer that no other tensor shares."""
        import numpy as np

        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[tensor].buffer = len(self.model.buffers) - 1

    def bias(self, linear: Linear) -> NDArray[np.float32]:
        """Return the bias of a linear operator, float32[channels]; zeros where it has none."""
        import numpy as np

        channels = self.graph.tensors[linear.weights].shape[linear.channel_axis]
        return self.values(linear.bias) if linear.bias >= 0 else np.zeros(channels, np.float32)

    def set_bias(self, linear: Linear, values: NDArray[np.float32]) -> None:
        """Give a linear operator its own bias, float32[channels]; the old one may be shared by others."""
        tensor = self._schema.TensorT()
        tensor.name = f"{linear.name}/bias".encode()
        tensor.type, tensor.shape = self._schema.TensorType.FLOAT32, list(values.shape)
        self.graph.tensors.append(tensor)
        number = len(self.graph.tensors) - 1
        self.set_values(number, values)
        for operator in self.graph.operators:
            if int(operator.outputs[0]) == linear.output:
                operator.inputs = [*operator.inputs[:BIAS], number]
        self.__dict__.pop("linears", None)  # the cached property holds the number of the old bias

    def set_ranges(self, ranges: Mapping[int, tuple[float, float]]) -> None:
        """Set the (least, largest) value of computed tensors, by number, where the quantizer reads them."""
        for tensor, (low, high) in ranges.items():
            parameters = self._schema.QuantizationParametersT()
            parameters.min, parameters.max = [low], [high]
            self.graph.tensors[tensor].quantization = parameters

    def take_bytes(self) -> None:
        """Insert a cast before the first operator, so that the model takes uint8 pixels."""
        schema, graph = self._schema, self.graph
        number = int(graph.inputs[0])
        image = schema.TensorT()
        image.name, image.type = graph.tensors[number].name, schema.TensorType.UINT8
        image.shape, image.shapeSignature = graph.tensors[number].shape, graph.tensors[number].shapeSignature
        image.buffer = self._empty_buffer()
        graph.tensors[number].name = image.name + b"/float32"
        graph.tensors.append(image)
        image_number = len(graph.tensors) - 1
        graph.operators.insert(0, self._cast(image_number, number))
        graph.inputs = [image_number]
        for signature in self.model.signatureDefs or ():
            for port in signature.inputs:
                port.tensorIndex = image_number if port.tensorIndex == number else port.tensorIndex

    def _empty_buffer(self) -> int:
        self.model.buffers.append(self._schema.BufferT())
        return len(self.model.buffers) - 1

    def _cast(self, source: int, target: int) -> Any:
        options = self._schema.CastOptionsT()
        types = self._schema.TensorType
        options.inDataType, options.outDataType = types.UINT8, types.FLOAT32
        return self._operator("CAST", options, source, target)

    def fake_quantize(self, tensor: int, low: float, high: float) -> None:
        """Make all readers of a computed tensor read it in 8 bits over low..high, widened to include 0."""
        graph, number = self.graph, len(self.graph.tensors)
        quantized, source = self._schema.TensorT(), graph.tensors[tensor]
        quantized.name, quantized.type = source.name + b"/8bit", source.type
        quantized.buffer = self._empty_buffer()
        quantized.shape, quantized.shapeSignature = source.shape, source.shapeSignature
        graph.tensors.append(quantized)

        def redirected(numbers: Any) -> list[int]:
            return [number if int(old) == tensor else int(old) for old in numbers]

        for operator in graph.operators:
            operator.inputs = redirected(operator.inputs)
        graph.outputs = redirected(graph.outputs)
        for signature in self.model.signatureDefs or ():
            for port in signature.outputs:
                port.tensorIndex = number if port.tensorIndex == tensor else port.tensorIndex
        options = self._schema.FakeQuantOptionsT()
        options.min, options.max, options.numBits = min(low, 0.0), max(high, 0.0), 8
        writers = [
            position
            for position, operator in enumerate(graph.operators)
            if tensor in map(int, operator.outputs)
        ]
        graph.operators.insert(writers[0] + 1, self._operator("FAKE_QUANT", options, tensor, number))

    def _operator(self, kind: str, options: Any, source: int, target: int) -> Any:
        """Make an operator from one tensor to another, with the options of its kind."""
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


def _tensors(holder: Any) -> list[Any]:
    """List the numbers of the tensors that an operator, or the whole graph, reads and writes."""
    return [*holder.inputs, *holder.outputs]
