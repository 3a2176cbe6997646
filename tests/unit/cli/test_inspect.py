"""`tledge predict` without a model, and what `tledge inspect` says of the input of one."""

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.loose_models import onnx_model, write


def test_predict_without_model(cli: Cli) -> None:
    done = cli("predict", "none.tflite", "photo.jpg")
    assert done.code == 2
    assert "none.tflite: no such model, bundle or run" in done.err


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_predict_with_garbage(cli: Cli, somewhere: Path, size: int) -> None:
    (somewhere / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(size))
    done = cli("predict", "bad.tflite", "photo.jpg")
    assert done.code == 4
    assert "bad.tflite" in done.err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"<html>"])
def test_damaged_zip_is_four(cli: Cli, somewhere: Path, content: bytes) -> None:
    (somewhere / "bundle.zip").write_bytes(content)
    for command in (["predict", "bundle.zip", "photo.jpg"], ["verify", "bundle.zip"]):
        done = cli(*command)
        assert done.code == 4
        assert "bundle.zip: not a zip file" in done.err


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{}", "not a readable tledge manifest"),
        ('{"manifest_version": 99}', "Install the version of tledge that made"),
    ],
)
def test_manifest_from_elsewhere(cli: Cli, somewhere: Path, manifest: str, message: str) -> None:
    (somewhere / "bundle").mkdir()
    (somewhere / "bundle" / "manifest.json").write_text(manifest)
    done = cli("predict", "bundle", "photo.jpg")
    assert done.code == 4
    assert message in done.err


def test_inspect_says_how_pixels_are_taken(cli: Cli, tmp_path: Path) -> None:
    known = write(tmp_path / "known", onnx_model(nchw=True, first=[("Div", [255.0])]))
    found = json.loads(cli("inspect", known, "--json").out)["preprocessing"]
    assert (found["size"], found["layout"], found["scaling"]) == ([8, 8], "NCHW", "0..255")
    unknown = cli("inspect", write(tmp_path / "unknown", onnx_model(size=("H", "W"))))
    assert "a float32 input without metadata" in unknown.out and "preprocessing.scaling" not in unknown.out
    no_image = json.loads(cli("inspect", write(tmp_path / "four", onnx_model(size=(8, 8, 8))), "--json").out)
    assert "expected one image" in no_image["preprocessing"]["problem"]
