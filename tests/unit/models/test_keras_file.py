"""A `.keras` file is judged as data: what it names, what it leads to, and what it unpacks to."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tledge.errors import RunError
from tledge.models import keras_file

h5py = pytest.importorskip("h5py")


def layer(name: str, module: str | None = "keras.layers", registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": {}, "registered_name": registered}


def config(*layers: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {"layers": [layer("InputLayer"), *layers]},
        "registered_name": "Functional",
    }


def weights(edit: Callable[[Any], None] = lambda file: None) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((3, 4), np.float32)
        file["layers/dense"].attrs["name"] = "dense"
        edit(file)
    return stream.getvalue()


def keras(described: Any = None, stored: bytes | None = None, **others: bytes) -> bytes:
    stream = io.BytesIO()
    parts = {
        "config.json": json.dumps(config() if described is None else described).encode(),
        "metadata.json": b"{}",
        "model.weights.h5": weights() if stored is None else stored,
        **others,
    }
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in parts.items():
            packed.writestr(name, data)
    return stream.getvalue()


def refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(RunError, match=words) as raised:
        keras_file.read(path)
    assert str(path) in str(raised.value) and len(str(raised.value)) < 500 + len(str(path))


def test_plain_model_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    own = layer("SavedModelFeatures", "tledge.models.saved_model_layer", "tledge>SavedModelFeatures")
    path.write_bytes(keras(config(own, layer("Conv2D"), layer("Add", "keras.src.ops.numpy", "Add"))))
    assert keras_file.read(path) == path.read_bytes()


@pytest.mark.parametrize(
    "named",
    [
        layer("Lambda"), layer("TFSMLayer"), layer("TextVectorization"), layer("StringLookup"),
        layer("Conv2D", "mine"), layer("Conv2D", None), layer("Conv2D", registered="tledge>ResizeJitter"),
        layer("system", "os"), layer("get_file", "keras.utils"), layer("__lambda__", None),
        layer("__typespec__", None), layer("SavedModelFeatures", "tledge", "SavedModelFeatures"),
        layer("__keras_tensor__", "os"), {"class_name": "function", "module": "builtins", "config": "eval"},
        {"class_name": ["Conv2D"], "module": "keras.layers"}, {"class_name": "Dense", "module": {"a": 1}},
    ],
    ids=lambda one: f"{one['module']}.{one['class_name']}",
)  # fmt: skip
def test_other_classes_are_refused(named: dict[str, Any], tmp_path: Path) -> None:
    refused(keras(config(named)), "no model of tledge's is made of", tmp_path)
    deep = layer("Dense") | {"config": {"kernel_initializer": [{"a": named}]}}
    refused(keras(config(deep)), "no model of tledge's is made of", tmp_path)


@pytest.mark.parametrize("described", [{}, [], "text", 1, {"config": {}}])
def test_configuration_of_no_model_is_refused(described: Any, tmp_path: Path) -> None:
    refused(keras(described), "describes no model", tmp_path)


def link(file: Any) -> None:
    file["away"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file: Any) -> None:
    file["away"] = h5py.SoftLink("/layers")


def circle(file: Any) -> None:
    file["layers/again"] = file["/layers"]


def storage(file: Any) -> None:
    file.create_dataset("away", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def mapping(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("away", layout)


def text(file: Any) -> None:
    file["away"] = "text"


def kind(file: Any) -> None:
    file["away"] = np.dtype("f4")


def huge(file: Any) -> None:
    file.create_dataset("away", (10**9, 10**3), "f4", chunks=(1, 1000))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (link, "lead elsewhere at /away"), (soft_link, "lead elsewhere"), (circle, "/layers/again twice"),
        (storage, "from another file"), (mapping, "from another file"), (text, "no array of numbers"),
        (kind, "which is no array"), (huge, "its weights fill 4000000000048 bytes"),
    ],
)  # fmt: skip
def test_weights_that_are_no_plain_arrays_are_refused(
    edit: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    refused(keras(stored=weights(edit)), words, tmp_path)
    (tmp_path / "w.h5").write_bytes(weights(edit))
    with pytest.raises(ValueError, match=words):
        keras_file.judge_weights_file(tmp_path / "w.h5")


def test_weights_files_that_are_plain_pass(tmp_path: Path) -> None:
    (tmp_path / "w.weights.h5").write_bytes(weights())
    (tmp_path / "w.keras").write_bytes(keras())
    keras_file.judge_weights_file(tmp_path / "w.weights.h5")
    keras_file.judge_weights_file(tmp_path / "w.keras")
    (tmp_path / "w.keras").write_bytes(b"none")
    with pytest.raises(ValueError, match="not a zip"):
        keras_file.judge_weights_file(tmp_path / "w.keras")


def test_sizes_are_bounded(tmp_path: Path) -> None:
    refused(keras({"a": "x" * (keras_file.MAX_CONFIG + 1)}), "unpacks to", tmp_path)
    refused(keras(stored=bytes(80 << 20)), "unpacks to 83886080 bytes", tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a zip"), (b"PK\x03\x04", "not a zip"), (keras(more=b"1"), "other files than"),
        (keras(stored=b"\x80\x04\x95cposix\nsystem\n."), "weights are damaged"),
        (keras(**{"assets/../../escaped.txt": b""}), "not a safe file name"),
        (keras(**{"config.json": b"["}), "Expecting value"),
        (keras(**{"config.json": b"[" * 100_000}), "recursion"),
    ],
)  # fmt: skip
def test_damaged_archives_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    refused(content, words, tmp_path)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real.keras").write_bytes(keras())
    (tmp_path / "model.keras").symlink_to("real.keras")
    with pytest.raises(RunError, match="symbolic link"):
        keras_file.read(tmp_path / "model.keras")
    os.mkfifo(tmp_path / "pipe.keras")
    with pytest.raises(RunError, match="a pipe"):
        keras_file.read(tmp_path / "pipe.keras")


def test_message_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    refused(keras(config(layer("\x1b[2JDense"))), r"keras.layers.\\x1b\[2JDense", tmp_path)
