"""Small ONNX classifiers as other tools make them: the mean colour decides, pixels are scaled anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SIDE = 8

WEIGHTS = np.array([[3.0, -3.0], [0.5, -0.5], [-2.0, 2.0]], np.float32)
"""Of red, green and blue: a red photo is of class 0, a blue one of class 1, around a mean of 0."""


def onnx_model(
    *,
    size: Sequence[int | str] = (SIDE, SIDE),
    batch: int | str = "N",
    channels: int = 3,
    nchw: bool = False,
    first: Sequence[tuple[str, Sequence[float]]] = (),
    last: str = "Softmax",
    properties: dict[str, str] | None = None,
    weights: Any = WEIGHTS,
    dtype: str = "FLOAT",
) -> bytes:
    """Return a model of the mean colour, behind `first` operators with constants; `last` "" gives logits."""
    lib = pytest.importorskip("onnx")
    step, port, kind = lib.helper.make_node, lib.helper.make_tensor_value_info, lib.TensorProto
    nodes, constants, name = [step("Cast", ["image"], ["x0"], to=kind.FLOAT)], {}, "x0"
    for number, (operator, values) in enumerate(first, 1):
        shape = (len(values), 1, 1) if nchw else (len(values),)
        constants[f"c{number}"] = np.array(values, np.float32).reshape(shape)
        nodes.append(step(operator, [name, f"c{number}"], [f"x{number}"]))
        name = f"x{number}"
    constants["w"] = np.asarray(weights, np.float32)[:channels]
    nodes.append(step("ReduceMean", [name], ["mean"], axes=[2, 3] if nchw else [1, 2], keepdims=0))
    nodes.append(step("MatMul", ["mean", "w"], ["logits"]))
    nodes.append(step(last or "Identity", ["logits"], ["output"]))
    shape = [batch, channels, *size] if nchw else [batch, *size, channels]
    classes = constants["w"].shape[1]
    graph = lib.helper.make_graph(
        nodes, "mean colour",
        [port("image", getattr(kind, dtype), shape)], [port("output", kind.FLOAT, [batch, classes])],
        [lib.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )  # fmt: skip
    model = lib.helper.make_model(graph, opset_imports=[lib.helper.make_opsetid("", 17)], ir_version=9)
    lib.helper.set_model_props(model, properties or {})
    return bytes(model.SerializeToString())


def write(folder: Path, content: bytes, labels: str = "red\nblue\n") -> Path:
    """Write a model and its labels."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.txt").write_text(labels)
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def colour(red: int, green: int, blue: int, side: int = SIDE) -> Any:
    """Return a photo of one colour, uint8[side, side, 3]."""
    return np.full((side, side, 3), (red, green, blue), np.uint8)


def labelled_photos(root: Path, count: int = 60, seed: int = 0) -> Path:
    """Write photos whose red or blue is stronger by a little, in the folders red/ and blue/."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        base = int(rng.integers(20, 200))
        is_red = number % 2 == 0
        pixels = colour(base + 40 * is_red, base, base + 40 * (not is_red))
        place = root / ("red" if is_red else "blue")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return root
