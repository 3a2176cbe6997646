"""`make device-check`: a bundle's answers on emulated ARM64 beside this machine's, and faults it sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.paths import ROOT

from tledge.errors import MissingError, ParityFailed

FOLDER = ROOT / "tools"
sys.path.insert(0, str(FOLDER))  # its scripts import one another as they lie

import arm64  # noqa: E402
import device_check  # noqa: E402

CACHE = Path(os.environ.get("TLEDGE_ARM64", ROOT / ".cache" / "arm64"))
SURE = np.eye(3, dtype=np.float32)


# Comparing, without a board


def compared(folder: Path, name: str, here: Any, there: Any) -> list[str]:
    for side, answers in (("here", here), ("there", there)):
        (folder / side).mkdir()
        np.save(folder / side / name, answers)
    return list(device_check.compare(folder / "here", folder / "there"))


def test_equal_answers_pass(tmp_path: Path) -> None:
    (line,) = compared(tmp_path, "tflite-int8.xnnpack.npy", SURE, SURE)
    assert line == "tflite-int8, xnnpack kernels: differs by 0 in 3 photos, allowed 0"


def test_integers_have_no_tolerance(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match=r"tflite-int8, reference kernels: differs by 1\.?.*allowed 0"):
        compared(tmp_path, "tflite-int8.reference.npy", SURE, SURE * np.float32(1 - 1e-6))


def test_floats_may_round(tmp_path: Path) -> None:
    assert compared(tmp_path, "tflite-fp32.xnnpack.npy", SURE, SURE - np.float32(9e-6))


@pytest.mark.parametrize("fault", [SURE - np.float32(2e-5), SURE * np.nan])
def test_floats_have_a_limit(tmp_path: Path, fault: Any) -> None:
    with pytest.raises(ParityFailed, match="allowed 1e-05"):
        compared(tmp_path, "tflite-fp32.xnnpack.npy", SURE, fault)


def test_one_answer_to_everything_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match="the same to every photo"):
        compared(tmp_path, "tflite-fp32.xnnpack.npy", SURE[[0, 0]], SURE[[0, 0]])


def test_no_answers_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match=r"needs a \.tflite file"):
        list(device_check.compare(tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("variant", "most"),
    [
        ("tflite-fp16", 1e-5),
        ("tflite-int16x8", 0),
        ("tflite-dynamic", 2.5 / 256),
        ("tflite-mixed", 2.5 / 256),
    ],
)
def test_what_each_variant_is_allowed(variant: str, most: float) -> None:
    assert device_check.allowed(variant) == most


def test_a_missing_tool_is_named() -> None:
    with pytest.raises(MissingError, match="no-such-tool is not here"):
        arm64._output(["no-such-tool"])


def test_a_failing_tool_is_quoted() -> None:
    with pytest.raises(MissingError, match=r"(?s)failed:.*no package of that name"):
        arm64._output([sys.executable, "-c", "raise SystemExit('no package of that name')"])


# On the board


@pytest.fixture(scope="module")
def board() -> Path:
    """The cache with the userland in it; skips where packages cannot be had, fails in CI."""
    try:
        arm64.userland(CACHE)
    except MissingError as error:
        if os.environ.get("TLEDGE_CI"):
            raise
        pytest.skip(f"no ARM64 userland: {error}")
    return CACHE


def check(board: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FOLDER / "device_check.py", "--cache", board, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.device
def test_a_bundle_answers_the_same_on_arm64(board: Path, small_run: Path) -> None:
    done = check(board, small_run / "bundle")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "uname -m: aarch64\n" in done.stdout
    for kernels in ("xnnpack", "reference"):
        assert f"tflite-int8, {kernels} kernels: differs by 0 in " in done.stdout
        assert f"tflite-fp32, {kernels} kernels: differs by " in done.stdout
    assert done.stdout.count("self-test passed\n") == len(device_check.RUNNERS) == 2
    assert done.stdout.endswith("device check passed\n")


@pytest.mark.slow
@pytest.mark.device
def test_a_command_runs_on_arm64(board: Path, tmp_path: Path) -> None:
    (tmp_path / "runner.py").write_text(
        "import os, sys\nprint(os.uname().machine)\nsys.exit(sys.argv[1:] != ['--self-test'])\n"
    )
    assert check(board, tmp_path, "--run", "python", "runner.py", "--self-test").stdout == "aarch64\n"
    failed = check(board, tmp_path, "--run", "python", "runner.py", "--other")
    assert (failed.returncode, "exit 1 on ARM64" in failed.stderr) == (3, True)


@pytest.mark.slow
@pytest.mark.device
def test_a_damaged_bundle_fails_on_arm64(board: Path, small_run: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(small_run / "bundle", tmp_path / "bundle"))
    file = bundle / "tflite-int8.tflite"
    file.write_bytes(file.read_bytes()[:1000])
    done = check(board, bundle)
    assert (done.returncode, "device check passed" in done.stdout) == (4, False)
    assert "tflite-int8.tflite: LiteRT does not load it" in done.stderr
