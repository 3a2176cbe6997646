"""What a real run holds is explained on the reference pages."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.reference_pages import unknown_files
from tledge.run import folder


def test_real_run_holds_what_is_explained(small_run: Path) -> None:
    there = {path.name for path in small_run.iterdir()}
    assert unknown_files(there) == set()
    sometimes = {
        "quantize_aware.keras",
        "quantize_aware.json",
        "checkpoints",
        "classes.csv",
        "bench.json",
        "bench.png",
        "feedback",
        "adopted",
        "evidence",
        ".lock",
    }
    assert set(folder.FILES) - there - sometimes == {"<name>-<version>.zip"}
