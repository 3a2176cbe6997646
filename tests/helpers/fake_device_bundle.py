"""A small bundle for device projects, made without training: golden photos in every encoding, and answers.

The model adds up colours: it names the strongest of red, green and blue, and weighs the upper left more,
so that turned pixels, exchanged colours and rows show. Twice, as float32 and as int8.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tledge import contract
from tledge._io import files as io_files
from tledge.bundle import manifest
from tledge.bundle.manifest import Expected, GoldenCase, Manifest, Shipped
from tledge.contract import TOLERANCES, AbstentionPolicy, InputSpec
from tledge.preprocessing import encodings, image
from tledge.runtime import sessions

LABELS = ("red", "green", "blue")
HEIGHT, WIDTH = 24, 32
GATES = {"tflite-fp32": "float", "tflite-int8": "int8"}


def photo(number: int) -> bytes:
    """A PNG of 120 x 90: a colour with fine stripes and noise, which antialiasing smooths."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[0:90, 0:120]
    tint = np.full(3, 90) + 70 * np.eye(3)[number % 3] + rng.integers(-20, 20, 3)
    stripes = 60 * ((columns + number) % 3 - 1) + rows // 3
    noise = rng.integers(-15, 15, (90, 120, 3))
    out = BytesIO()
    Image.fromarray((tint + stripes[..., None] + noise).clip(0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def weights() -> NDArray[np.float32]:
    """float32[classes, height * width * 3], for pixels 0 to 255."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    place = 1.5 - rows / HEIGHT / 2 - columns / WIDTH / 2
    colours = np.eye(3) - 1 / 3 + np.array([[0.05], [0], [-0.05]])  # grey is called red, and is no tie
    made = place[None, :, :, None] * colours[:, None, None, :] / (HEIGHT * WIDTH * 16)
    return made.reshape(len(LABELS), -1).astype(np.float32)


def tflite(
    integers: bool, kernel: NDArray[np.float32] | None = None, side: tuple[int, int] = (HEIGHT, WIDTH)
) -> bytes:
    """RGB bytes to probabilities: one dense layer and a softmax, in float32 or in int8.

    `kernel` is float32[classes, side[0] * side[1] * 3]; the weights of this module without it.
    """
    values = weights() if kernel is None else kernel
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [], [schema.BufferT()]
    graph.tensors, graph.operators = [], []

    def tensor(kind: str, shape: list[int], scale: float = 0, zero: int = 0, values: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = f"t{len(graph.tensors)}", shape, getattr(schema.TensorType, kind)
        if scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        if values is not None:
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(kind: str, inputs: list[int], output: int, options: str = "") -> int:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version, made.opcodeIndex = 1, len(model.operatorCodes)
        made.inputs, made.outputs = inputs, [output]
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            made.builtinOptions.beta = 1.0  # of the softmax; nothing to the others
        model.operatorCodes.append(code)
        graph.operators.append(made)
        return output

    shape, size, classes = [1, *side, 3], side[0] * side[1] * 3, len(values)
    kind = "INT8" if integers else "FLOAT32"
    step = float(np.abs(values).max() / 127) or 0.01 if integers else 0
    stored = np.round(values / step).astype(np.int8) if integers else values
    start = tensor("UINT8", shape, 1.0 if integers else 0)
    inner = operator(*(("QUANTIZE", [start]) if integers else ("CAST", [start])),
                     tensor(kind, shape, 1.0 if integers else 0, -128))  # fmt: skip
    matrix = tensor(kind, [classes, size], step, 0, stored)
    logits = tensor(kind, [1, classes], 0.1 if integers else 0)
    operator("FULLY_CONNECTED", [inner, matrix, -1], logits, "FullyConnectedOptions")
    shares = tensor(kind, [1, classes], 1 / 256 if integers else 0, -128)
    end = operator("SOFTMAX", [logits], shares, "SoftmaxOptions")
    if integers:
        end = operator("QUANTIZE", [shares], tensor("UINT8", [1, classes], 1 / 256))
    graph.inputs, graph.outputs = [start], [end]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def keras(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What Keras would answer: the same in numpy, float32[cases, classes]."""
    logits = pixels.reshape(len(pixels), -1).astype(np.float32) @ weights().T
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def make(folder: Path) -> Path:
    """A whole bundle in the new folder `folder`; gives its path."""
    golden = folder / "golden"
    golden.mkdir(parents=True)
    files = [("", ".png", photo(number)) for number in range(6)]
    files += [(kind, *encodings.encode(photo(7 + n), kind)) for n, kind in enumerate(encodings.KINDS)]
    names = []
    for number, (_kind, suffix, data) in enumerate(files):
        names.append(f"{number:02d}{suffix}")
        (golden / names[-1]).write_bytes(data)
    pixels = np.stack([image.preprocess(golden / name, (HEIGHT, WIDTH)) for name in names])
    answers = keras(pixels)
    np.save(golden / "pixels.npy", pixels)
    np.save(golden / "keras.npy", answers)
    best = [LABELS[row] for row in answers.argmax(1)]
    cases = [GoldenCase(names[n], best[n], best[n], n, files[n][0]) for n in range(len(files))]
    shipped = [_ship(folder, variant, pixels) for variant in GATES]
    sure = AbstentionPolicy(1.5, 0.4, 20, 0.95, 0.0)
    made = Manifest(
        "colours", "1", "the strongest colour", False, LABELS, InputSpec(HEIGHT, WIDTH), weights().size,
        tuple(shipped), tuple(cases), tledge="0", confidence=sure,
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.manifest_json(made), encoding="utf-8")
    (folder / "labels.txt").write_text(contract.labels_text(LABELS), encoding="utf-8")
    (folder / "README.md").write_text("# colours 1\n", encoding="utf-8")
    write_sums(folder)
    return folder


def _ship(folder: Path, variant: str, pixels: NDArray[np.uint8]) -> Shipped:
    content = tflite(variant == "tflite-int8")
    path = folder / f"{variant}.tflite"
    path.write_bytes(content)
    tolerance, found = TOLERANCES[GATES[variant]], []
    for kernels in sessions.KERNELS:
        name = f"golden/{variant}.{kernels}.npy"
        np.save(folder / name, sessions.LiteRTSession(content, variant, kernels).run(pixels))
        found.append(Expected(kernels, name, tolerance))
    sha256 = io_files.sha256(path)
    return Shipped(
        variant, path.name, sha256, len(content), "passed", 1.0, 1.0, "xnnpack", 0.95, 0.0, tuple(found),
        1 / 256 if variant == "tflite-int8" else 0.0,
    )  # fmt: skip


def change_byte(path: Path) -> None:
    """Another value for the byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def write_sums(folder: Path) -> None:
    """SHA256SUMS of what lies in a bundle, also after a change."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    sums = [f"{io_files.sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the manifest of a bundle; its SHA256SUMS stay true."""
    raw = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    edit(raw)
    (folder / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    write_sums(folder)
