"""Zips of Teachable Machine, and those that are none."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tledge.adoption import archives
from tledge.errors import ArtifactError, RecipeError


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("members", "model"),
    [
        ({"keras_model.h5": b"\x89HDF", "labels.txt": b"0 cat\n"}, "keras_model.h5"),
        ({"model.savedmodel/saved_model.pb": b"", "labels.txt": b"0 cat\n"}, "model.savedmodel"),
    ],
)
def test_model_and_labels_are_found(tmp_path: Path, members: dict[str, bytes], model: str) -> None:
    unpacked = archives.unpack(packed(tmp_path / "converted.zip", members), tmp_path / "out")
    assert (unpacked.model, unpacked.labels) == (tmp_path / "out" / model, "0 cat\n")


def test_keras_file_is_no_archive_of_models(tmp_path: Path) -> None:
    path = packed(tmp_path / "m.keras", {"config.json": b"{}"})
    assert archives.unpack(path, tmp_path / "out") == archives.Unpacked(path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"model_unquant.tflite": b"", "labels.txt": b""}, 'found 0; it holds .*tflite.*as "Keras"'),
        ({"a.h5": b"", "b.h5": b""}, "found 2"),
        ({"archive/data.pkl": b""}, "a pickle: opening it runs code"),
    ],
)
def test_other_zips_are_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        archives.unpack(packed(tmp_path / "x.zip", members), tmp_path / "out")


@pytest.mark.parametrize("name", ["../keras_model.h5", "/keras_model.h5"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="damaged or unsafe zip"):
        archives.unpack(packed(tmp_path / "x.zip", {name: b"\x89HDF"}), tmp_path / "a" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["x.zip"]
