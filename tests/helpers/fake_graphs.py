"""A small float `.tflite` built by hand, without TensorFlow, and faults to plant in it."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tledge.quantization.activation_statistics import TensorSelection, measure
from tledge.quantization.tflite_graph import FloatGraph, Linear

SIDE, CHANNELS, CLASSES = 8, 8, 4


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """A colour each, with noise, so that answers differ: uint8[count, 8, 8, 3]."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(20, 236, (count, 1, 1, 3))
    return (colours + rng.integers(-20, 20, (count, SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


class _Builder:
    """Puts one operator behind another."""

    def __init__(self) -> None:
        self.graph, self.model = schema.SubGraphT(), schema.ModelT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []

    def tensor(self, name: str, shape: tuple[int, ...], values: NDArray[Any] | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape = name, list(shape)
        integer = values is not None and values.dtype == np.int32
        made.type = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
        buffer = schema.BufferT()
        if values is not None:
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, kind: str, options: Any, inputs: list[int], output: int) -> int:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        self.model.operatorCodes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        made.builtinOptions = options
        self.graph.operators.append(made)
        return output

    def linear(
        self, name: str, kind: str, options: Any, source: int, shape: tuple[int, ...], rng: Any
    ) -> int:
        depthwise = kind == "DEPTHWISE_CONV_2D"
        outputs = shape[-1] if depthwise else shape[0]
        taps = np.prod(shape) / outputs
        kernel = rng.normal(0, 1 / np.sqrt(taps), shape).astype(np.float32)
        weights = self.tensor(f"{name}/kernel", shape, kernel)
        bias = self.tensor(f"{name}/bias", (outputs,), rng.normal(0, 0.1, outputs).astype(np.float32))
        dense = kind == "FULLY_CONNECTED"
        output = (1, outputs) if dense else (1, SIDE, SIDE, outputs)
        part = "MatMul" if dense else "depthwise" if depthwise else "convolution"
        end = self.tensor(f"net_1/{name}_1/Relu;net_1/{name}_1/{part}", output)
        return self.operator(kind, options, [source, weights, bias], end)


def _convolution(kind: Any, activation: int) -> Any:
    options = kind()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.padding, options.fusedActivationFunction = schema.Padding.SAME, activation
    return options


def chain(seed: int = 0) -> bytes:
    """Layers first, depthwise, project, logits, in this order; float32[1, 8, 8, 3] → probabilities."""
    made, rng = _Builder(), np.random.default_rng(seed)
    relu = schema.ActivationFunctionType.RELU
    convolution = _convolution(schema.Conv2DOptionsT, relu)
    depthwise = _convolution(schema.DepthwiseConv2DOptionsT, relu)
    depthwise.depthMultiplier = 1
    image = made.tensor("image", (1, SIDE, SIDE, 3))
    x = made.linear("first", "CONV_2D", convolution, image, (CHANNELS, 1, 1, 3), rng)
    x = made.linear("depthwise", "DEPTHWISE_CONV_2D", depthwise, x, (1, 3, 3, CHANNELS), rng)
    x = made.linear("project", "CONV_2D", convolution, x, (CHANNELS, 1, 1, CHANNELS), rng)
    mean, axes = schema.ReducerOptionsT(), made.tensor("axes", (2,), np.array([1, 2], np.int32))
    mean.keepDims = False
    pooled = made.operator("MEAN", mean, [x, axes], made.tensor("net_1/pool_1/Mean", (1, CHANNELS)))
    dense = schema.FullyConnectedOptionsT()
    x = made.linear("logits", "FULLY_CONNECTED", dense, pooled, (CLASSES, CHANNELS), rng)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    x = made.operator("SOFTMAX", softmax, [x], made.tensor("answer", (1, CLASSES)))
    made.graph.inputs, made.graph.outputs = [image], [x]
    made.model.version, made.model.subgraphs = 3, [made.graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.model.Pack(builder), b"TFL3")
    return _centred(bytes(builder.Output()), pooled)


def _centred(model: bytes, pooled: int) -> bytes:
    """The same with logits around zero and about one apart, so that every class is answered."""
    graph = FloatGraph(model)
    features = (
        measure(model, pictures(64), TensorSelection(sampled=(pooled,))).samples[pooled].reshape(-1, CHANNELS)
    )
    last = linear(graph, "logits")
    kernel = graph.values(last.weights)
    kernel *= 3 / (features @ kernel.T).std(0)[:, None]
    graph.set_values(last.weights, kernel)
    graph.set_bias(last, -kernel @ features.mean(0))
    return graph.pack()


def linear(graph: FloatGraph, name: str) -> Linear:
    """The layer of a name."""
    return next(one for one in graph.linears if f"/{name}_1/" in one.name)


def rescaled(model: bytes, factors: NDArray[np.float32]) -> bytes:
    """Channels of `depthwise` multiplied and divided again by `project`: float answers stay the same."""
    graph = FloatGraph(model)
    one = linear(graph, "depthwise")
    graph.set_values(one.weights, graph.values(one.weights) * factors)
    graph.set_bias(one, graph.bias(one) * factors)
    after = linear(graph, "project")
    graph.set_values(after.weights, graph.values(after.weights) / factors)
    return graph.pack()


def thousandfold() -> NDArray[np.float32]:
    """Scales from a thousandth to 1."""
    return np.random.default_rng(0).permutation(np.logspace(-3, 0, CHANNELS)).astype(np.float32)


def outlier() -> NDArray[np.float32]:
    """One channel 300 times larger than the others."""
    return np.where(np.arange(CHANNELS) == 0, 1, 1 / 300).astype(np.float32)
