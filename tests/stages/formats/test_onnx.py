"""ONNX files of a trained network in each of their modes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.small_run import record
from tledge._io import files
from tledge.formats.registry import VARIANTS, onnx

lib = pytest.importorskip("onnx")

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with both modes exported; do not change it."""
    run = Path(shutil.copytree(small_run, tmp_path_factory.mktemp("modes") / "small"))
    export(run)
    return run


def export(run: Path) -> None:
    command = [sys.executable, "-m", "tledge", "export", str(run), "--quiet"]
    for variant in ("onnx-fp16", "onnx-int8"):
        command += ["--variant", variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def own(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "small"))


def test_modes_pass_their_gates(exported: Path) -> None:
    rows = {one["variant"]: one for one in json.loads((exported / "parity.json").read_text())["rows"]}
    full, half, eight = (rows[f"onnx-{mode}"] for mode in ("fp32", "fp16", "int8"))
    assert full["verdict"] == half["verdict"] == eight["verdict"] == "passed"
    assert 1.8 < full["bytes"] / half["bytes"] < 2.2 and eight["bytes"] < half["bytes"]
    assert full["max_abs_dp"] < half["max_abs_dp"] < 0.05 and eight["agreement"] > 0.9
    assert eight["without_bias_correction"]["agreement"] > 0.5
    made = json.loads((exported / "artifacts" / "onnx-int8.json").read_text())["details"]
    assert made["calibration_images"] == 202 and len(made["bias_correction"]) == 12


def test_files_keep_the_contract(exported: Path) -> None:
    for mode in ("fp16", "int8"):
        found = onnx.inspect(exported / "artifacts" / f"onnx-{mode}.onnx")
        taken, given = found.inputs[0], found.outputs[0]
        assert (taken.name, taken.dtype, taken.shape) == ("image", "uint8", (-1, 48, 48, 3))
        assert (given.name, given.dtype, given.shape) == ("probabilities", "float32", (-1, 3))
        assert found.labels == ("paper", "rock", "scissors") and found.metadata["opset"] == 17
        assert found.metadata["name"] == "small"


def test_another_process_gives_the_same_bytes(exported: Path, own: Path) -> None:
    for path in own.glob("artifacts/onnx-*"):
        path.unlink()
    export(own)
    for name in ("onnx-fp16.onnx", "onnx-int8.onnx"):
        assert files.sha256(own / "artifacts" / name) == files.sha256(exported / "artifacts" / name)


@pytest.mark.parametrize("variant", ["onnx-int8", "onnx-fp16"])
def test_float_under_another_name(own: Path, cli: Cli, variant: str) -> None:
    shutil.copy(own / "artifacts" / "onnx-fp32.onnx", own / "artifacts" / f"{variant}.onnx")
    record(own, variant)
    done = cli("verify", own)
    assert done.code == 4
    assert f"weights are float32, expected {VARIANTS[variant].mode.weights}" in done.out


def test_zeroed_int8_kernel_is_named(own: Path, cli: Cli) -> None:
    path = own / "artifacts" / "onnx-int8.onnx"
    model = lib.load(str(path))
    kernel = next(one for one in model.graph.initializer if len(one.dims) == 4 and one.dims[2] == 3)
    kernel.raw_data = bytes(len(kernel.raw_data))
    path.write_bytes(model.SerializeToString())
    record(own, "onnx-int8")
    done = cli("verify", own)
    assert done.code == 4 and f"all weights of {kernel.name} are zero" in done.out
