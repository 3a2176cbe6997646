"""The tutorial, walked by a newcomer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import newcomer
import pytest


@pytest.mark.slow(minutes=5)
def test_newcomer_succeeds(real_data: Path, tmp_path: Path) -> None:
    """From a folder of photos to the self-test of a Raspberry Pi project, with nothing but the page.

    The recipe is the one that `tledge init` writes for 1,000 photos of flowers, but for a shorter schedule.
    """
    home = tmp_path / "keras"
    home.mkdir()
    (home / "models").symlink_to(real_data / "keras" / "models")
    command = [sys.executable, newcomer.__file__, real_data / "photos" / "flowers", "--keras-home", home]
    done = subprocess.run(
        [*command, "--work", tmp_path / "work", "--environment", sys.prefix],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n== the end" in done.stdout and done.stdout.count("self-test passed") >= 1
    made = tmp_path / "work" / "tledge"
    assert (made / "runs" / "mine" / "bundle" / "tflite-int8.tflite").is_file()
    run = json.loads((made / "runs" / "mine" / "run.json").read_text())
    assert run["input"]["height"] == 224 and run["test"]["images"] == 200
    assert run["test"]["accuracy"] > 0.7
    parity = json.loads((made / "runs" / "mine" / "parity.json").read_text())
    rows = {row["variant"]: row for row in parity["rows"]}
    assert rows["tflite-fp32"]["verdict"] == rows["onnx-fp32"]["verdict"] == "passed"
    assert not rows["tflite-int8"]["structural"] and rows["tflite-int8"]["agreement"] > 0.9
    assert (made / "pi" / "bundle" / "manifest.json").is_file()
