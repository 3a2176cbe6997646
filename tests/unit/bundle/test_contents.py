"""A bundle is inspected row by row: what can be inspected here, and what to install for the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tests.helpers.fake_device_bundle import change
from tledge._process import optional_imports
from tledge.errors import MissingError
from tledge.formats import saved_model
from tledge.runtime import sandbox


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A bundle of a SavedModel, a `.tflite` and an `.onnx` file."""
    return fake_artifacts.bundle(tmp_path / "mixed")


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither onnx nor TensorFlow is installed."""

    def missing(module: str, extra: str, command: str = "") -> None:
        raise MissingError(f"{module} is not installed. {command or optional_imports.install_command(extra)}")

    monkeypatch.setattr(optional_imports, "load", missing)
    monkeypatch.setattr(saved_model, "tensorflow", lambda: missing("tensorflow", "export"))
    monkeypatch.setattr(sandbox, "is_possible", lambda _library: False)  # another process has them


def test_rows_say_what_is_missing(cli: Cli, mixed: Path, on_device: None) -> None:
    done = cli("inspect", mixed, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    rows = {row["variant"]: row for row in found["artifacts"]}
    assert (found["format"], found["name"], found["labels"]) == ("bundle", "tiny", ["cat", "dog", "owl"])
    assert rows["tflite-fp32"]["structure"]["inputs"][0]["shape"] == [1, 8, 8, 3]
    missing = {
        "onnx-fp32": "onnx is not installed. pip install onnx",
        "saved_model": "tensorflow is not installed. pip install 'tledge[export]'",
    }
    for variant, words in missing.items():
        assert rows[variant]["structure"] is None and rows[variant]["missing"] == words
        assert rows[variant]["verdict"] == "passed" and rows[variant]["bytes"] > 0


def test_table_names_every_artifact(cli: Cli, mixed: Path, on_device: None) -> None:
    done = cli("inspect", mixed)
    assert done.code == 0
    assert "tflite-fp32.operators" in done.out and "FULLY_CONNECTED" in done.out
    assert "onnx-fp32.missing" in done.out and "saved_model.missing" in done.out
    assert "cat, dog, owl" in done.out and "metadata" not in done.out


def test_nothing_to_inspect_is_five(cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge.formats import tflite_model

    def missing(*_arguments: object) -> None:
        raise MissingError("LiteRT is not installed: pip install ai-edge-litert")

    monkeypatch.setattr(tflite_model, "parse", missing)
    done = cli("inspect", bundle)
    assert done.code == 5 and "no artifact can be inspected here. LiteRT is not installed" in done.err
    assert "tflite-int8.missing" in done.out


def test_damaged_artifact_is_four_and_the_others_are_shown(cli: Cli, bundle: Path) -> None:
    path = bundle / "tflite-int8.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    done = cli("inspect", bundle)
    assert (
        done.code == 4
        and "tflite-int8: tflite-int8.tflite: not the file that manifest.json names" in done.err
    )
    assert "tflite-fp32.operators" in done.out


def test_unknown_variant_is_a_fault_of_its_row(cli: Cli, bundle: Path) -> None:
    change(bundle, lambda raw: raw["artifacts"][0].update(variant="tflite-int4"))
    done = cli("inspect", bundle, "--json")
    faults = {row["variant"]: row["fault"] for row in json.loads(done.out)["artifacts"]}
    assert done.code == 4 and "no such variant" in faults.pop("tflite-int4")
    assert set(faults.values()) == {""}


def test_file_without_its_library_names_what_to_install(cli: Cli, tmp_path: Path, on_device: None) -> None:
    (tmp_path / "model.onnx").write_bytes(fake_artifacts.onnx())
    (tmp_path / "model.tflite").write_bytes(fake_artifacts.tflite())
    done = cli("inspect", tmp_path / "model.onnx")
    assert done.code == 5 and "onnx is not installed. pip install onnx" in done.err
    assert cli("inspect", tmp_path / "model.tflite").code == 0
