"""Small `.tflite` models that end the process that runs them, with a kernel family of LiteRT or with all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_device_bundle
from tledge._io import files


def many_labels(labels: int = 600, side: tuple[int, int] = (8, 8)) -> bytes:
    """An int8 model with equal outputs: over more than 512 labels LiteRT's reference softmax aborts."""
    zeros = np.zeros((labels, side[0] * side[1] * 3), np.float32)
    return fake_device_bundle.tflite(integers=True, kernel=zeros, side=side)


def without_scales() -> bytes:
    """A whole flatbuffer of scales that are 0, on which XNNPACK ends with a segmentation fault."""
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(fake_device_bundle.tflite(integers=True), 0)
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization and tensor.quantization.scale is not None:
            tensor.quantization.scale = [0.0]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def bundle(folder: Path, family: str) -> Path:
    """A bundle whose tflite-int8 crashes in a kernel family; SHA256SUMS and manifest name its hash."""
    fake_device_bundle.make(folder)
    file = folder / "tflite-int8.tflite"
    side = (fake_device_bundle.HEIGHT, fake_device_bundle.WIDTH)
    file.write_bytes(without_scales() if family == "xnnpack" else many_labels(600, side))

    def edit(raw: dict) -> None:  # type: ignore[type-arg]
        for artifact in raw["artifacts"]:
            artifact["sha256"] = files.sha256(folder / artifact["path"])

    fake_device_bundle.change(folder, edit)
    return folder
