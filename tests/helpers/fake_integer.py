"""A small integer `.tflite` built by hand, as the converter makes them, and a bundle of it; no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tests.helpers.fake_device_bundle import write_sums
from tests.helpers.fake_graphs import _Builder, _convolution, pictures
from tledge._io import files
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle.manifest import Expected, GoldenCase, Manifest, Shipped
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.runtime.sessions import LiteRTSession

SIDE, CHANNELS = 8, 8
LABELS = ("cat", 'a "quoted" \\ dog??', "Eule größer", "ibis")
MACS = {"CONV_2D": 4 * 4 * 8 * 3 * 3 * 3, "DEPTHWISE_CONV_2D": 4 * 4 * 8 * 3 * 3, "FULLY_CONNECTED": 4 * 8}
"""Each output value times the weights that it sees: 4 x 4 x 8 values of 3 x 3 x 3 weights, and so on."""


class _Integers(_Builder):
    """Tensors with a type and a scale; weights with a scale for each output."""

    def quantized(
        self, name: str, shape: tuple[int, ...], scale: float, zero: int, kind: str = "INT8"
    ) -> int:
        number = self.tensor(name, shape)
        self.scale(number, kind, [scale], [zero])
        return number

    def scale(self, number: int, kind: str, scales: list[float], zeros: list[int], axis: int = 0) -> None:
        tensor, found = self.graph.tensors[number], schema.QuantizationParametersT()
        found.scale, found.zeroPoint, found.quantizedDimension = scales, zeros, axis
        tensor.type, tensor.quantization = getattr(schema.TensorType, kind), found

    def layer(
        self, kind: str, options: Any, source: tuple[int, float], shape: tuple[int, ...],
        end: tuple[tuple[int, ...], float, int], rng: Any, gain: float = 1,
    ) -> int:  # fmt: skip
        axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
        outputs, number = shape[axis], len(self.graph.tensors)
        values = rng.integers(-127, 128, shape).astype(np.int8)
        step = gain / (73 * float(np.sqrt(values.size / outputs)))  # random bytes deviate by 73
        weights = self.tensor(f"w{number}", shape, values)
        self.scale(weights, "INT8", [step] * outputs, [0] * outputs, axis)
        bias = self.tensor(f"b{number}", (outputs,), np.zeros(outputs, np.int32))
        self.scale(bias, "INT32", [step * source[1]] * outputs, [0] * outputs)
        made = self.quantized(f"o{number}", *end)
        return self.operator(kind, options, [source[0], weights, bias], made)


def model(seed: int = 3) -> bytes:
    """uint8[1, 8, 8, 3] → convolution, depthwise, mean, dense, softmax in int8 → uint8[1, 4]."""
    made, rng = _Integers(), np.random.default_rng(seed)
    relu = schema.ActivationFunctionType.RELU
    convolution = _convolution(schema.Conv2DOptionsT, relu)
    depthwise = _convolution(schema.DepthwiseConv2DOptionsT, relu)
    convolution.strideH = convolution.strideW = 2
    depthwise.depthMultiplier = 1
    image = made.quantized("image", (1, SIDE, SIDE, 3), 1.0, 0, "UINT8")
    x = made.operator(
        "QUANTIZE", schema.QuantizeOptionsT(), [image], made.quantized("in", (1, SIDE, SIDE, 3), 1.0, -128)
    )
    wide = (1, 4, 4, CHANNELS)
    x = made.layer("CONV_2D", convolution, (x, 1.0), (CHANNELS, 3, 3, 3), (wide, 2.0, -128), rng)
    x = made.layer("DEPTHWISE_CONV_2D", depthwise, (x, 2.0), (1, 3, 3, CHANNELS), (wide, 2.0, -128), rng)
    mean, axes = schema.ReducerOptionsT(), made.tensor("axes", (2,), np.array([1, 2], np.int32))
    x = made.operator("MEAN", mean, [x, axes], made.quantized("pooled", (1, CHANNELS), 2.0, -128))
    dense = schema.FullyConnectedOptionsT()
    x = made.layer("FULLY_CONNECTED", dense, (x, 2.0), (len(LABELS), CHANNELS), ((1, 4), 0.05, 0), rng, 0.03)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    x = made.operator("SOFTMAX", softmax, [x], made.quantized("p", (1, 4), 1 / 256, -128))
    x = made.operator(
        "QUANTIZE", schema.QuantizeOptionsT(), [x], made.quantized("answer", (1, 4), 1 / 256, 0, "UINT8")
    )
    made.graph.inputs, made.graph.outputs = [image], [x]
    made.model.version, made.model.subgraphs = 3, [made.graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def answers(data: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What LiteRT's reference kernels answer: float32[N, 4]."""
    return LiteRTSession(data, "fake", "reference").run(images)


def bundle(folder: Path, data: bytes, variant: str = "tflite-int8", count: int = 6) -> Path:
    """A bundle folder of one artifact, with golden pixels and the answers of reference kernels."""
    (folder / "golden").mkdir(parents=True)
    path = folder / f"{variant}.tflite"
    path.write_bytes(data)
    pixels = pictures(count)
    found = answers(data, pixels)
    np.save(folder / "golden" / "pixels.npy", pixels)
    np.save(folder / "golden" / f"{variant}.reference.npy", found)
    expected = Expected("reference", f"golden/{variant}.reference.npy", 2.5 / 256)
    shipped = Shipped(variant, path.name, files.sha256(path), len(data), "passed", expected=(expected,))
    cases = tuple(GoldenCase(f"{row}.png", LABELS[0], LABELS[0], row) for row in range(count))
    manifest = Manifest(
        "fake", "1", "", False, LABELS, InputSpec(SIDE, SIDE), 500, (shipped,), cases,
        confidence=AbstentionPolicy(0.8, 0.4),
    )  # fmt: skip
    (folder / "manifest.json").write_text(bundle_manifest.manifest_json(manifest), encoding="utf-8")
    write_sums(folder)
    return folder
