"""What is published: the tests in the sdist, and the default install alone, which has no TensorFlow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import newcomer
import pytest

from tests.helpers import published
from tests.helpers.command_line import Cli
from tests.helpers.paths import ROOT
from tests.helpers.preview_server import ask
from tests.helpers.small_run import zip_of


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of this checkout, unpacked."""
    return published.sdist(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, unpacked: Path) -> Path:
    """The Python of a new environment that holds the wheel made of the sdist, and what it requires."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheel = published.wheel(unpacked)
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    return python


def test_sdist_holds_what_its_tests_read(unpacked: Path) -> None:
    """Everything that is in the repository, so that all tests are collected, and from there alone."""
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert {name for name in newcomer.names() if (ROOT / name).is_file()} - files == set()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", "-m", ""]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    counts = re.findall(r"^(\d+) tests collected", done.stdout, re.M)
    assert [int(count) > 5000 for count in counts] == [True], done.stdout[-200:]


def tledge(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "tledge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=python.parent)


def test_heavy_libraries_are_absent(device: Path) -> None:
    code = "import importlib.util as u; print([m for m in ('tensorflow', 'keras', 'onnx') if u.find_spec(m)])"
    done = subprocess.run([str(device), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("model", ["bundle", "zip", "bundle/tflite-fp32.tflite"])
def test_predicts_golden_photos_as_keras(device: Path, small_run: Path, model: str) -> None:
    bundle = small_run / "bundle"
    cases = json.loads((bundle / "manifest.json").read_text())["golden"]
    photos = [bundle / "golden" / case["photo"] for case in cases]
    variant = () if model.endswith(".tflite") else ("--variant", "tflite-fp32")
    path = zip_of(small_run) if model == "zip" else small_run / model
    done = tledge(device, "predict", path, *photos, "--json", *variant)
    answers = [one["predictions"][0]["label"] for one in json.loads(done.stdout)]
    assert done.returncode == 0 and len(answers) == len(cases) >= 12
    assert answers == [case["keras"] for case in cases]


def test_bundle_verifies_without_tensorflow(device: Path, small_run: Path) -> None:
    done = tledge(device, "verify", small_run / "bundle", "--json")
    verdicts = {row["variant"]: row["verdict"] for row in json.loads(done.stdout)["rows"]}
    assert done.returncode == 0, done.stderr
    assert verdicts["tflite-int8"] == verdicts["tflite-fp32"] == "passed"
    assert verdicts["saved_model"] == verdicts["onnx-fp32"] == "skipped"


def test_bundle_is_inspected_row_by_row(device: Path, small_run: Path) -> None:
    done = tledge(device, "inspect", zip_of(small_run), "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["variant"]: row for row in json.loads(done.stdout)["artifacts"]}
    assert rows["tflite-int8"]["structure"]["inputs"][0]["dtype"] == "uint8"
    assert "pip install onnx" in rows["onnx-fp32"]["missing"]
    assert "pip install 'tledge[export]'" in rows["saved_model"]["missing"]
    assert tledge(device, "inspect", small_run / "bundle" / "tflite-int8.tflite").returncode == 0
    done = tledge(device, "inspect", small_run / "bundle" / "onnx-fp32.onnx")
    assert done.returncode == 5 and "pip install onnx" in done.stderr


def test_bundles_are_compared_without_tensorflow(device: Path, small_run: Path) -> None:
    done = tledge(device, "compare", zip_of(small_run), small_run / "bundle", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    verdicts = {row["variant"]: row["verdict"] for row in json.loads(done.stdout)["rows"]}
    assert verdicts["tflite-int8"] == verdicts["tflite-fp32"] == "same file"


def test_bundle_is_previewed_without_tensorflow(device: Path, small_run: Path) -> None:
    command = [str(device), "-m", "tledge", "preview", str(small_run / "bundle"), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=device.parent) as serving:
        try:
            assert serving.stdout
            lines = [*iter(serving.stdout.readline, "}\n"), "}"]
            assert b"<html" in ask(json.loads("".join(lines))["url"]).body
        finally:
            serving.terminate()


def test_verdicts_stay_and_the_next_bundle_is_the_same(device: Path, own_run: Path, cli: Cli) -> None:
    """A device has neither ONNX Runtime nor TensorFlow: what it cannot check is as good as before."""
    before = {row["variant"]: row for row in json.loads((own_run / "parity.json").read_text())["rows"]}
    packed = (zip_of(own_run)).read_bytes()
    done = tledge(device, "verify", own_run, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    shown = {row["variant"]: row["verdict"] for row in json.loads(done.stdout)["rows"]}
    assert shown["onnx-fp32"] == shown["saved_model"] == "skipped" and shown["tflite-int8"] == "passed"
    after = {row["variant"]: row for row in json.loads((own_run / "parity.json").read_text())["rows"]}
    assert {row["verdict"] for row in after.values()} == {"passed"}
    assert after["onnx-fp32"] == before["onnx-fp32"]
    assert cli("bundle", own_run, "--quiet").code == 0
    assert (zip_of(own_run)).read_bytes() == packed


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
    assert tledge(device, "bundle", zip_of(small_run), "--target", out.name, "--out", out).returncode == 0
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
