"""A whole bundle for device projects, made without training: uint8 models, photos, pixels, answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tledge import contract, encodings, images, runs, runtime
from tledge.contract import Confidence, Expected, GoldenCase, InputSpec, Manifest, Shipped

LABELS = ("cat", "dog", "owl")
HEIGHT, WIDTH = 24, 32  # not square, so that a mix-up shows
COUNT = HEIGHT * WIDTH * 3
LOGIT_STEP = 0.1
"""What one step of the int8 logits stands for."""


def weights() -> Any:
    """float32[classes, pixels] that tell the photos below apart, and red from blue."""
    random = np.random.default_rng(1)
    coarse = random.normal(0, 1, (len(LABELS), 3, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    made = coarse.reshape(len(LABELS), COUNT)
    return ((made - made.mean(1, keepdims=True)) * 6e-5).astype(np.float32)


def photo(seed: int) -> bytes:
    """A JPEG of large spots of colour with much fine texture on them, 150 x 100."""
    random = np.random.default_rng(seed)
    spots = Image.fromarray(random.integers(0, 256, (3, 4, 3), np.uint8)).resize((150, 100))
    fine = random.integers(-60, 61, (100, 150, 3))
    made = np.clip(np.asarray(spots, np.int64) + fine, 0, 255).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(made).save(out, "JPEG", quality=92)
    return out.getvalue()


class _Graph:
    """A `.tflite` under construction; every operator makes one tensor of one."""

    def __init__(self) -> None:
        self._flatbuffers = pytest.importorskip("flatbuffers")
        self.schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
        self._model, self._graph = self.schema.ModelT(), self.schema.SubGraphT()
        self._model.version, self._model.subgraphs = 3, [self._graph]
        self._model.buffers, self._model.operatorCodes = [self.schema.BufferT()], []
        self._graph.tensors, self._graph.operators = [], []

    def tensor(
        self, kind: str, shape: list[int], scale: tuple[float, int] | None = None, data: Any = None
    ) -> int:
        made = self.schema.TensorT()
        made.name, made.shape = f"t{len(self._graph.tensors)}", shape
        made.type = getattr(self.schema.TensorType, kind)
        if scale:
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale[0]], [scale[1]]
        if data is not None:
            made.buffer = len(self._model.buffers)
            self._model.buffers.append(self.schema.BufferT())
            self._model.buffers[-1].data = np.ascontiguousarray(data).view(np.uint8).ravel()
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def operator(self, name: str, inputs: list[int], output: int, options: str = "", version: int = 1) -> int:
        code, made = self.schema.OperatorCodeT(), self.schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(self.schema.BuiltinOperator, name)
        code.version = version
        made.opcodeIndex, made.inputs, made.outputs = len(self._model.operatorCodes), inputs, [output]
        if options:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            made.builtinOptions = getattr(self.schema, f"{options}T")()
            if options == "SoftmaxOptions":
                made.builtinOptions.beta = 1.0
        self._model.operatorCodes.append(code)
        self._graph.operators.append(made)
        return output

    def file(self, first: int, last: int) -> bytes:
        self._graph.inputs, self._graph.outputs = [first], [last]
        builder = self._flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def fp32() -> bytes:
    """uint8 image -> float -> dense -> softmax -> float32."""
    graph, classes = _Graph(), len(LABELS)
    image = graph.tensor("UINT8", [1, HEIGHT, WIDTH, 3])
    real = graph.operator("CAST", [image], graph.tensor("FLOAT32", [1, HEIGHT, WIDTH, 3]))
    matrix = graph.tensor("FLOAT32", [classes, COUNT], data=weights())
    logits = graph.tensor("FLOAT32", [1, classes])
    graph.operator("FULLY_CONNECTED", [real, matrix, -1], logits, "FullyConnectedOptions")
    shares = graph.operator("SOFTMAX", [logits], graph.tensor("FLOAT32", [1, classes]), "SoftmaxOptions")
    return graph.file(image, shares)


def int8() -> bytes:
    """uint8 image -> int8 -> dense -> softmax -> uint8, as the converter writes it."""
    graph, classes = _Graph(), len(LABELS)
    step = float(np.abs(weights()).max() / 127)
    image = graph.tensor("UINT8", [1, HEIGHT, WIDTH, 3], (1.0, 0))
    small = graph.operator("QUANTIZE", [image], graph.tensor("INT8", [1, HEIGHT, WIDTH, 3], (1.0, -128)))
    rounded = np.round(weights() / step).astype(np.int8)
    matrix = graph.tensor("INT8", [classes, COUNT], (step, 0), rounded)
    logits = graph.tensor("INT8", [1, classes], (LOGIT_STEP, 0))
    graph.operator("FULLY_CONNECTED", [small, matrix, -1], logits, "FullyConnectedOptions", 4)
    shares = graph.tensor("INT8", [1, classes], (1 / 256, -128))
    graph.operator("SOFTMAX", [logits], shares, "SoftmaxOptions", 2)
    last = graph.operator("QUANTIZE", [shares], graph.tensor("UINT8", [1, classes], (1 / 256, 0)), version=2)
    return graph.file(image, last)


MODELS: dict[str, Callable[[], bytes]] = {"tflite-fp32": fp32, "tflite-int8": int8}


def _photos(folder: Path) -> list[tuple[str, str]]:
    """Golden photos and their copies in other encodings: file name, what is special."""
    kinds = ("", "", "", *encodings.KINDS)
    made = []
    for number, kind in enumerate(kinds):
        suffix, data = encodings.encode(photo(number), kind) if kind else (".jpg", photo(number))
        (folder / f"{number:02}{suffix}").write_bytes(data)
        made.append((f"{number:02}{suffix}", kind))
    return made


def _artifact(folder: Path, variant: str, pixels: Any) -> Shipped:
    data, answers = MODELS[variant](), []
    (folder / f"{variant}.tflite").write_bytes(data)
    for kernels in runtime.KERNELS:
        found = runtime.LiteRTSession(data, variant, kernels).run(pixels)
        np.save(folder / "golden" / f"{variant}.{kernels}.npy", found)
        tolerance = contract.TOLERANCES["int8" if "int8" in variant else "float"]
        answers.append(Expected(kernels, f"golden/{variant}.{kernels}.npy", tolerance))
    path = folder / f"{variant}.tflite"
    sha, size = runs.sha256(path), len(data)
    return Shipped(variant, path.name, sha, size, "passed", kernels="xnnpack", expected=tuple(answers))


def bundle(folder: Path) -> Path:
    """Write the bundle to `folder`; the float model's reference answers stand for Keras'."""
    (folder / "golden").mkdir(parents=True)
    photos = _photos(folder / "golden")
    pixels = np.stack([images.prepare(folder / "golden" / name, (HEIGHT, WIDTH)) for name, _ in photos])
    np.save(folder / "golden" / "pixels.npy", pixels)
    shipped = tuple(_artifact(folder, variant, pixels) for variant in MODELS)
    keras = np.load(folder / "golden" / "tflite-fp32.reference.npy")
    np.save(folder / "golden" / "keras.npy", keras)
    names = [LABELS[index] for index in keras.argmax(-1)]
    cases = tuple(
        GoldenCase(name, label, label, row, kind)
        for row, ((name, kind), label) in enumerate(zip(photos, names, strict=True))
    )
    fitted = Confidence(0.8, 0.6, 40, 0.9, 0.05)
    manifest = Manifest(
        "tiny", "1", "", True, LABELS, InputSpec(HEIGHT, WIDTH), COUNT * 3, shipped, cases, confidence=fitted
    )
    (folder / "manifest.json").write_text(contract.manifest_json(manifest))
    (folder / "labels.txt").write_text(contract.labels_text(LABELS))
    sum_up(folder)
    return folder


def sum_up(folder: Path) -> None:
    """Write SHA256SUMS anew, as one who changes a bundle on purpose would."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{runs.sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change `manifest.json` in place by a function of what it holds."""
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
