"""Write a `model.keras` whose SavedModel layer holds an operator that is more than arithmetic."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

CLASSES, SIDE = 3, 32
"""Classes and image side of the tiny run, in whose place the file is put."""


def keras_file(graph: str, units: int = 0) -> bytes:
    """Return a `.keras` file: image → the graph's features → softmax, or a layer of `units` before that."""
    layers = [
        _layer("InputLayer", "image", {"batch_shape": [None, SIDE, SIDE, 3], "dtype": "float32"}),
        _layer("SavedModelFeatures", "features", _graph_config(graph), "image", [None, SIDE, SIDE, 3]),
        _layer("Softmax", "probabilities", {"axis": -1}, "features", [None, CLASSES]),
    ]
    if units:
        layers[2:] = [
            _layer("Dense", "wide", {"units": units}, "features", [None, CLASSES]),
            _layer("Softmax", "probabilities", {"axis": -1}, "wide", [None, units]),
        ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["probabilities", 0, 0]]}
    config = {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {"name": "net", "trainable": True, "layers": layers, **ends},
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
    }
    return _packed(config)


def _graph_config(graph: str) -> dict[str, Any]:
    variables = [["weight", [1], "float32", True]]
    return {"graph": graph, "variables": variables, "output_shape": [None, CLASSES]}


def _layer(
    name: str, own_name: str, config: dict[str, Any], source: str = "", shape: list[int | None] | None = None
) -> dict[str, Any]:
    is_own = name == "SavedModelFeatures"
    tensor = {"shape": shape, "dtype": "float32", "keras_history": [source, 0, 0]}
    inputs = [{"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": {}}]
    return {
        "module": "tledge.models.saved_model_layer" if is_own else "keras.layers",
        "class_name": name,
        "config": {"name": own_name, **config},
        "registered_name": f"tledge>{name}" if is_own else None,
        "name": own_name,
        "build_config": {"input_shape": shape},
        "inbound_nodes": inputs if source else [],
    }


def _packed(config: dict[str, Any]) -> bytes:
    import h5py
    import numpy as np

    weights, out = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/saved_model_features/vars/0"] = np.zeros(1, np.float32)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("config.json", json.dumps(config))
        packed.writestr("metadata.json", json.dumps({"keras_version": "3.9.0"}))
        packed.writestr("model.weights.h5", weights.getvalue())
    return out.getvalue()


def graph_text(*operators: tuple[str, dict[str, Any]]) -> str:
    """Return a graph as the layer's config has it: the image's means by channel, put through `operators`.

    A constant is added to what came before it; every other operator takes that.
    """
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.framework.types_pb2 import DT_FLOAT, DT_INT32

    graph = GraphDef()
    graph.versions.producer = 1987
    for name, shape in (("image", (-1, SIDE, SIDE, 3)), ("weight_0", (1,))):
        _add(graph, name, "Placeholder", (), {"dtype": DT_FLOAT, "shape": shape})
    axes = graph.node.add(name="axes", op="Const")
    axes.attr["dtype"].type = axes.attr["value"].tensor.dtype = DT_INT32
    axes.attr["value"].tensor.tensor_shape.dim.add(size=2)
    axes.attr["value"].tensor.int_val.extend((1, 2))
    _add(graph, "mean", "Mean", ("image", "axes"), {"T": DT_FLOAT, "Tidx": DT_INT32})
    last = "mean"
    for number, (operator, attributes) in enumerate(operators):
        is_constant = operator == "ImmutableConst"
        _add(graph, f"harm_{number}", operator, () if is_constant else (last,), attributes)
        if is_constant:
            _add(graph, f"sum_{number}", "AddV2", (last, f"harm_{number}"), {"T": DT_FLOAT})
        last = f"sum_{number}" if is_constant else f"harm_{number}"
    _add(graph, "scaled", "AddV2", (last, "weight_0"), {"T": DT_FLOAT})
    _add(graph, "features", "Identity", ("scaled",), {"T": DT_FLOAT})
    return as_text(graph.SerializeToString())


def graph_of(operator: str) -> Any:
    """Return a graph of one operator without attributes."""
    from tensorflow.core.framework.graph_pb2 import GraphDef

    graph = GraphDef()
    graph.node.add(name="harm", op=operator)
    return graph


def as_text(graph: bytes) -> str:
    """Return a graph's bytes as the layer keeps them: compressed, in letters."""
    return base64.b64encode(zlib.compress(graph, 9)).decode()


def bomb_text(size: int) -> str:
    """Return a text that unpacks to `size` zeros."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return base64.b64encode(b"".join([*parts, packer.flush()])).decode()


def _add(graph: Any, name: str, operator: str, inputs: tuple[str, ...], attributes: dict[str, Any]) -> None:
    """Add a node: numbers (also in lists) are types, tuples are shapes, text (also in lists) is text."""
    node = graph.node.add(name=name, op=operator, input=inputs)
    for key, value in attributes.items():
        if isinstance(value, int):
            node.attr[key].type = value
        elif isinstance(value, tuple):
            for side in value:
                node.attr[key].shape.dim.add(size=side)
        elif isinstance(value, list):
            is_text = isinstance(value[0], str)
            node.attr[key].list.s.extend(text.encode() for text in value if is_text)
            node.attr[key].list.type.extend(kind for kind in value if not is_text)
        else:
            node.attr[key].s = value.encode()


def reading(secret: Path) -> tuple[str, dict[str, Any]]:
    """Return the operator that maps a file of twelve bytes as a constant of three numbers."""
    return "ImmutableConst", {"dtype": 1, "shape": (CLASSES,), "memory_region_name": str(secret)}


def sending(url: str) -> tuple[str, dict[str, Any]]:
    """Return the operator that writes its input to an address: `file://` or `grpc://`."""
    names = {"tensor_name": "mean:0", "device_name": "/job:localhost/replica:0/task:0/device:CPU:0"}
    return "DebugIdentity", {"T": 1, "debug_urls": [url], **names}


def running_python() -> tuple[str, dict[str, Any]]:
    """Return the operator that calls a Python function of the process."""
    return "PyFuncStateless", {"token": "pyfunc_0", "Tin": [1], "Tout": [1]}
