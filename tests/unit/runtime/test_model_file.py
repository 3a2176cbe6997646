"""A model file is read once, and its name and hash stay with its bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.helpers import fake_artifacts
from tledge._io import files
from tledge.errors import ArtifactError
from tledge.formats.registry import FORMATS
from tledge.runtime.model_file import ModelFile, read_model


def test_hash_is_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"model")
    model = read_model(path)
    assert model == ModelFile("m.tflite", b"model") and model.sha256 == files.sha256(path)
    path.write_bytes(b"exchanged")
    assert model.sha256 == hashlib.sha256(b"model").hexdigest()
    assert read_model(model) is model


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_formats_take_a_path_or_a_file_that_was_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{kind}"
    path.write_bytes({"tflite": fake_artifacts.tflite, "onnx": fake_artifacts.onnx}[kind]())
    model = read_model(path)
    assert FORMATS[kind].inspect(path) == FORMATS[kind].inspect(model)
    path.unlink()
    assert FORMATS[kind].open(model, "xnnpack").run(fake_artifacts.pixels()).shape == (5, 3)


def test_weights_elsewhere_are_refused_of_a_file_that_was_read() -> None:
    library = pytest.importorskip("onnx")
    model = library.ModelProto.FromString(fake_artifacts.onnx())
    model.graph.initializer[0].data_location = library.TensorProto.EXTERNAL
    with pytest.raises(ArtifactError, match="are in another file"):
        FORMATS["onnx"].inspect(ModelFile("m.onnx", model.SerializeToString()))


def test_saved_model_is_no_file() -> None:
    with pytest.raises(ArtifactError, match="expected the folder of a SavedModel"):
        FORMATS["saved_model"].open(ModelFile("saved_model", b""), "xnnpack")


def test_file_that_is_no_model_by_its_size_or_kind(tmp_path: Path) -> None:
    """A sparse file of 5 GiB took as much memory, and a pipe waited without end."""
    large, pipe = tmp_path / "large.onnx", tmp_path / "pipe.tflite"
    with large.open("wb") as file:
        file.truncate(5 << 30)
    os.mkfifo(pipe)
    for path, told in ((large, "too large, 5120 MiB; at most 2047 are read"), (pipe, "a pipe")):
        with pytest.raises(ArtifactError, match=told):
            read_model(path)


def test_link_to_a_model_is_followed(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"model")
    (tmp_path / "newest.tflite").symlink_to("model.tflite")
    assert read_model(tmp_path / "newest.tflite").content == b"model"
