"""The default install alone, with no TensorFlow: what a device has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that holds the default install and nothing else."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(ROOT)], check=True)
    return python


def tledge(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "tledge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=python.parent)


def test_heavy_libraries_are_absent(device: Path) -> None:
    code = "import importlib.util as u; print([m for m in ('tensorflow', 'keras', 'onnx') if u.find_spec(m)])"
    done = subprocess.run([str(device), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("model", ["bundle", "small-1.zip", "bundle/tflite-fp32.tflite"])
def test_predicts_golden_photos_as_keras(device: Path, small_run: Path, model: str) -> None:
    bundle = small_run / "bundle"
    cases = json.loads((bundle / "manifest.json").read_text())["golden"]
    photos = [bundle / "golden" / case["photo"] for case in cases]
    variant = () if model.endswith(".tflite") else ("--variant", "tflite-fp32")
    done = tledge(device, "predict", small_run / model, *photos, "--json", *variant)
    answers = [one["predictions"][0]["label"] for one in json.loads(done.stdout)]
    assert done.returncode == 0 and len(answers) == len(cases) >= 12
    assert answers == [case["keras"] for case in cases]


def test_bundle_verifies_without_tensorflow(device: Path, small_run: Path) -> None:
    done = tledge(device, "verify", small_run / "bundle", "--json")
    verdicts = {row["variant"]: row["verdict"] for row in json.loads(done.stdout)["rows"]}
    assert done.returncode == 0, done.stderr
    assert verdicts["tflite-int8"] == verdicts["tflite-fp32"] == "passed"
    assert verdicts["saved_model"] == verdicts["onnx-fp32"] == "skipped"


def test_bundle_is_measured_without_tensorflow(device: Path, small_run: Path) -> None:
    options = ("--threads", "1", "--kernels", "xnnpack", "--json", "--quiet")
    done = tledge(device, "bench", small_run / "bundle", *options)
    rows = {row["variant"]: row for row in json.loads(done.stdout)["rows"]}
    assert done.returncode == 0, done.stderr
    assert rows["tflite-int8"]["status"] == rows["tflite-fp32"]["status"] == "measured"
    assert rows["tflite-int8"]["queries"] >= 100 and rows["tflite-int8"]["seconds"] >= 1
    assert "onnxruntime" in rows["onnx-fp32"]["reason"] and rows["saved_model"]["status"] == "skipped"


def test_shipped_recipes_are_found(device: Path) -> None:
    done = tledge(device, "list", "recipes")
    assert done.returncode == 0 and "quickstart" in done.stdout and "rps" in done.stdout


def test_device_projects_come_whole(device: Path, small_run: Path) -> None:
    """Every file of `export/` is in the wheel, scripts can still be run, and a project can be filled."""
    code = "from tledge._io import resources as shipped; print(shipped.folder('export'))"
    done = subprocess.run([str(device), "-c", code], capture_output=True, text=True, check=True, cwd="/")
    installed = Path(done.stdout.strip())
    assert not installed.is_relative_to(ROOT)
    for path in (ROOT / "export").rglob("*"):
        there = installed / path.relative_to(ROOT / "export")
        if path.is_file() and "__pycache__" not in path.parts:
            assert there.read_bytes() == path.read_bytes()
            assert os.access(there, os.X_OK) == os.access(path, os.X_OK), path
    out = device.parent / "raspberry_pi"
    assert (
        tledge(device, "bundle", small_run / "small-1.zip", "--target", out.name, "--out", out).returncode
        == 0
    )
    proof = [str(device), str(out / "classify.py"), "--self-test"]
    assert subprocess.run(proof, capture_output=True, check=False).returncode == 0


def test_training_names_missing_library(device: Path) -> None:
    done = tledge(device, "train", "quickstart")
    assert done.returncode == 5
    assert "keras" in done.stderr and "pip install 'tledge[train]'" in done.stderr
    assert not (device.parent / "runs").exists()


def test_help_loads_no_heavy_library(device: Path) -> None:
    command = [str(device), "-X", "importtime", "-m", "tledge", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not any(name in done.stderr for name in ("numpy", "PIL", "rich", "ai_edge"))
