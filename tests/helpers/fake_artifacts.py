"""Tiny artifacts, a bundle and a run of them, made without TensorFlow in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tledge._io import files as io_files
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle.manifest import Manifest, Shipped
from tledge.contract import InputSpec
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, ParityReport, ParityRow, Reference, Score, TrainedRun

LABELS = ("cat", "dog", "owl")
SIZE = 8


def weights() -> Any:
    return np.random.default_rng(1).normal(0, 0.01, (len(LABELS), SIZE * SIZE * 3)).astype(np.float32)


def tflite(size: int = SIZE, wide: bool = False) -> bytes:
    """One dense layer over a flattened float32 image; `wide`: with the dtypes of int16x8."""
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

    def tensor(shape: list[int], buffer: int) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = f"t{buffer}{shape}", shape, buffer
        made.type = schema.TensorType.INT16 if wide and not buffer else schema.TensorType.FLOAT32
        return made

    code, operator, graph, model = (
        schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT(),
    )  # fmt: skip
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    operator.inputs, operator.outputs = [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    count = size * size * 3
    shapes = ([1, size, size, 3], 0), ([len(LABELS), count], 1), ([1, len(LABELS)], 0)
    graph.tensors = [tensor(shape, buffer) for shape, buffer in shapes]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.resize(weights(), len(LABELS) * count).view(np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def onnx() -> bytes:
    """The same dense layer, for any number of images."""
    lib = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, numbers = lib.helper, lib.numpy_helper
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["p"])],
        "tiny",
        [value("image", lib.TensorProto.FLOAT, ["N", SIZE, SIZE, 3])],
        [value("p", lib.TensorProto.FLOAT, ["N", len(LABELS)])],
        [numbers.from_array(weights().T.copy(), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def pixels(count: int = 5) -> Any:
    return np.random.default_rng(2).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def write(folder: Path) -> list[tuple[str, str]]:
    """The artifacts of a bundle or a run in `folder`; gives variant and file name of each."""
    folder.mkdir(parents=True)
    (folder / "saved_model").mkdir()
    (folder / "saved_model" / "saved_model.pb").write_bytes(bytes(100))
    (folder / "tflite-fp32.tflite").write_bytes(tflite())
    (folder / "onnx-fp32.onnx").write_bytes(onnx())
    names = ("saved_model", "tflite-fp32.tflite", "onnx-fp32.onnx")
    return [(name.split(".")[0], name) for name in names]


KERNELS = {"saved_model": "tensorflow-cpu", "tflite-fp32": "xnnpack", "onnx-fp32": "onnxruntime-cpu"}


def bundle(folder: Path, accuracy: float | None = 0.9) -> Path:
    """A bundle folder with its manifest, golden pixels and SHA256SUMS."""
    shipped = tuple(
        Shipped(variant, name, io_files.sha256(folder / name), io_files.size_of(folder / name), "passed",
                accuracy, 1.0, KERNELS[variant])
        for variant, name in write(folder)
    )  # fmt: skip
    manifest = Manifest("tiny", "1", "", False, LABELS, InputSpec(SIZE, SIZE), 576, shipped)
    (folder / "manifest.json").write_text(bundle_manifest.manifest_json(manifest))
    (folder / "golden").mkdir()
    np.save(folder / "golden" / "pixels.npy", pixels())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{io_files.sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def run(path: Path) -> Path:
    """A finished run with artifacts and a parity report."""
    folder = RunFolder(path)
    score = Score(40, 0.9, 0.8, 0.95)
    facts = TrainedRun(
        "tiny", "1", 7, "", False, LABELS, InputSpec(SIZE, SIZE), "tiny", 576, 90, score, score, score,
        1.0, "nowhere",
    )  # fmt: skip
    rows = []
    for variant, name in write(folder.artifacts):
        file = folder.artifacts / name
        sha, size = io_files.sha256(file), io_files.size_of(file)
        io_files.write_json(
            folder.artifacts / f"{variant}.json", Artifact(variant, f"artifacts/{name}", sha, size, 1.0)
        )
        found = {"images": 40, "accuracy": 0.85, "kernels": KERNELS[variant]}
        rows.append(ParityRow(variant, f"artifacts/{name}", sha, size, "passed", **found))  # type: ignore[arg-type]
    io_files.write_json(folder.run, facts)
    io_files.write_json(folder.parity, ParityReport(True, Reference(0.9, 40), tuple(rows)))
    zeros = np.zeros((5, len(LABELS)), np.float32)
    golden_set.save(
        folder.golden, golden_set.Golden(pixels(), np.zeros(5, np.int64), zeros, tuple("abcde"), {})
    )
    return path
