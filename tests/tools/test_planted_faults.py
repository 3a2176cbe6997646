"""A test of the tests: every planted fault makes the tests named beside it fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import planted_faults

from tests.helpers.paths import ROOT

UNNOTICED = """
[[fault]]
name = "harmless"
file = "tledge/run/golden_set.py"
before = "FAULT_IMAGES = 64"
after = "FAULT_IMAGES = 8 * 8"
tests = ["tests/unit/run/test_golden_set.py::test_what_was_saved_is_read"]

[[fault]]
name = "gone"
file = "tledge/run/golden_set.py"
before = "no such text"
after = ""
tests = ["tests/unit/run/test_golden_set.py::test_what_was_saved_is_read"]
"""


def plant(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the tool in a process that has not loaded the package."""
    command = [sys.executable, ROOT / "tools" / "planted_faults.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_fault_is_caught() -> None:
    done = plant()
    assert done.returncode == 0, done.stdout
    count = sum(not fault.slow for fault in planted_faults.read_faults())
    assert f"{count} of {count} faults caught" in done.stdout


def test_fault_that_no_test_notices_is_told(tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text(UNNOTICED, encoding="utf-8")
    done = plant("--table", tmp_path / "faults.toml")
    assert done.returncode == 1
    harmless, gone, last = done.stdout.splitlines()
    assert harmless.startswith("harmless") and "NOT CAUGHT: its tests passed" in harmless
    assert "its text stands 0 times in tledge/run/golden_set.py, expected once" in gone
    assert last == "0 of 2 faults caught"
