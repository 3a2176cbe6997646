"""A bundle's answers on emulated ARM64 beside this machine's, and faults that are seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import arm64
import device_check
import pytest

from tests.helpers.paths import ROOT
from tledge.errors import MissingError

FOLDER = ROOT / "tools"

CACHE = Path(os.environ.get("TLEDGE_ARM64", ROOT / ".cache" / "arm64"))


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
@pytest.mark.system_packages("cmake", "g++-aarch64-linux-gnu", "make")
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
def test_a_command_runs_on_arm64(board: Path, tmp_path: Path) -> None:
    (tmp_path / "runner.py").write_text(
        "import os, sys\nprint(os.uname().machine)\nsys.exit(sys.argv[1:] != ['--self-test'])\n"
    )
    assert check(board, tmp_path, "--run", "python", "runner.py", "--self-test").stdout == "aarch64\n"
    failed = check(board, tmp_path, "--run", "python", "runner.py", "--other")
    assert (failed.returncode, "exit 1 on ARM64" in failed.stderr) == (3, True)


@pytest.mark.slow
def test_a_damaged_bundle_fails_on_arm64(board: Path, small_run: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(small_run / "bundle", tmp_path / "bundle"))
    file = bundle / "tflite-int8.tflite"
    file.write_bytes(file.read_bytes()[:1000])
    done = check(board, bundle)
    assert (done.returncode, "device check passed" in done.stdout) == (4, False)
    assert "tflite-int8.tflite: LiteRT does not load it" in done.stderr
