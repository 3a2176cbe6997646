"""Malicious bundles: nothing is written elsewhere, nothing of theirs runs, words say what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.fake_device_bundle import write_sums


def test_no_code_of_a_bundle_runs(bundle: Path, tmp_path: Path) -> None:
    """Its README says to work in its folder; other processes of tledge import nothing from there."""
    mark = tmp_path / "ran.txt"
    for name in ("numpy", "json", "tledge", "ai_edge_litert"):
        (bundle / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise SystemExit(9)\n")
    write_sums(bundle)
    photo = next((bundle / "golden").glob("*.png")).relative_to(bundle)
    for arguments in (["predict", ".", str(photo)], ["verify", "."]):
        command = [sys.executable, "-P", "-m", "tledge", *arguments]
        done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 4) and "Traceback" not in done.stderr  # 4: these models carry no labels
        assert "tflite-int8" in done.stdout or "red" in done.stdout
    assert not mark.exists()
