"""The tutorial, walked by a newcomer with 180 photos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import first_hour
import pytest


@pytest.mark.slow(minutes=3)
def test_first_hour_ends_with_a_verified_bundle_on_a_device(real_data: Path, tmp_path: Path) -> None:
    """From 3 x 60 photos to the self-test of a Raspberry Pi project, with nothing but the page.

    The recipe is the one that `tledge init` writes, but for a shorter schedule. What a newcomer would stumble
    over, such as a command that ends without a next step, is a fault that the script names.
    """
    home = tmp_path / "keras"
    home.mkdir()
    (home / "models").symlink_to(real_data / "keras" / "models")
    command = [sys.executable, first_hour.__file__, real_data / "photos" / "flowers", "--keras-home", home]
    done = subprocess.run(
        [*command, "--work", tmp_path / "work"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "work" / "tledge" / "runs" / "mine"
    trained = json.loads((run / "run.json").read_text())
    assert trained["input"]["height"] == 224 and trained["test"]["accuracy"] > 0.5
    rows = {row["variant"]: row for row in json.loads((run / "parity.json").read_text())["rows"]}
    assert rows["tflite-fp32"]["verdict"] == rows["onnx-fp32"]["verdict"] == "passed"
    assert not rows["tflite-int8"]["structural"] and rows["tflite-int8"]["agreement"] > 0.9
    assert (run / "bundle" / "tflite-int8.tflite").is_file()
