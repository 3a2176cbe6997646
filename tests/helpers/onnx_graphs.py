"""A small ONNX graph built by hand, and what is looked at in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

lib = pytest.importorskip("onnx")

SIDE, WIDTH, CLASSES = 12, 16, 3

FULL = [np.zeros((1, SIDE, SIDE, 3), np.uint8), np.full((1, SIDE, SIDE, 3), 255, np.uint8)]


def graph(prefix: str = "") -> Any:
    """Bytes → scaled → stem → depthwise with its batch norm behind it → dense → probabilities."""
    rng = np.random.default_rng(4)
    step = lib.helper.make_node
    kernels = {
        "scale": np.float32(1 / 127.5),
        "offset": np.float32(-1),
        "stem": rng.normal(0, 0.3, (WIDTH, 3, 3, 3)),
        "stem_bias": rng.normal(1, 0.1, WIDTH),
        "least": np.float32(0),
        "most": np.float32(6),
        "depthwise": rng.normal(0, 0.5, (WIDTH, 1, 3, 3)) - np.full((WIDTH, 1, 3, 3), 0.05),
        "factor": rng.uniform(0.5, 2, (1, WIDTH, 1, 1)),
        "shift": rng.normal(0, 0.5, (1, WIDTH, 1, 1)),
        "dense": rng.normal(0, 2, (WIDTH, CLASSES)),
        "dense_bias": rng.normal(0, 0.1, CLASSES),
        "unread": rng.normal(size=50),
    }
    nodes = [
        step("Cast", ["image"], ["bytes"], to=lib.TensorProto.FLOAT),
        step("Mul", ["bytes", "scale"], ["scaled"]),
        step("Add", ["scaled", "offset"], ["moved"]),
        step("Transpose", ["moved"], ["planes"], perm=[0, 3, 1, 2]),
        step("Conv", ["planes", "stem", "stem_bias"], ["a"], pads=[0, 0, 1, 1], strides=[2, 2]),
        step("Clip", ["a", "least", "most"], ["b"]),
        step("Conv", ["b", "depthwise"], ["c"], pads=[1, 1, 1, 1], group=WIDTH),
        step("Mul", ["c", "factor"], ["d"]),
        step("Add", ["d", "shift"], ["e"]),
        step("Clip", ["e", "least", "most"], ["f"]),
        step("GlobalAveragePool", ["f"], ["g"]),
        step("Flatten", ["g"], ["h"]),
        step("MatMul", ["h", "dense"], ["i"]),
        step("Add", ["i", "dense_bias"], ["logits"]),
        step("Softmax", ["logits"], ["probabilities"]),
    ]
    for number, node in enumerate(nodes):
        node.name = f"{prefix}node{number}"
        node.input[:] = [prefix + name for name in node.input]
        node.output[:] = [prefix + name for name in node.output]
    port = lib.helper.make_tensor_value_info
    made = lib.helper.make_graph(
        nodes,
        "net",
        [port(f"{prefix}image", lib.TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [port(f"{prefix}probabilities", lib.TensorProto.FLOAT, ["N", CLASSES])],
        [
            lib.numpy_helper.from_array(np.asarray(values, np.float32), prefix + name)
            for name, values in kernels.items()
        ],
    )
    return lib.helper.make_model(made, opset_imports=[lib.helper.make_opsetid("", 17)], ir_version=8)


def photos(count: int = 20) -> NDArray[np.uint8]:
    """Smooth bright noise, and the two images that span 0..255."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(90, 256, (count, SIDE // 4, SIDE // 4, 3)).astype(np.uint8)
    return np.concatenate([coarse.repeat(4, 1).repeat(4, 2), *FULL])


def answers(model: Any, images: NDArray[np.uint8], output: str | None = None) -> NDArray[np.float32]:
    """Probabilities, or another tensor, of every image."""
    import onnxruntime

    copy = lib.ModelProto.FromString(model.SerializeToString())
    if output:
        copy.graph.output.append(lib.helper.make_empty_tensor_value_info(output))
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run([output or copy.graph.output[0].name], {"image": images})[0]
    return found


def constants(model: Any) -> dict[str, NDArray[Any]]:
    return {one.name: lib.numpy_helper.to_array(one) for one in model.graph.initializer}
