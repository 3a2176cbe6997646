"""A run carries its doubt to the bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tledge.bundle import reader
from tledge.run.folder import RunFolder


def test_run_carries_its_doubt_to_the_bundle(small_run: Path) -> None:
    folder = RunFolder(small_run)
    fitted, report = folder.read_run().confidence, folder.read_parity()
    manifest = reader.open_bundle(small_run / "bundle").manifest
    assert fitted and manifest.confidence == fitted and fitted.images == 135
    assert 1 / 3 < fitted.threshold < 1 and 0.8 < fitted.coverage < 1
    assert {split: len(one.rows) for split, one in folder.read_risk().items()} == {"validation": 7, "test": 7}
    shares = {row.variant: row.coverage for row in report.rows}
    for variant, share in shares.items():
        most = 0.1 if variant == "tflite-int8" else 0.01
        assert share == pytest.approx(report.reference.coverage, abs=most)
    assert {one.variant: one.coverage for one in manifest.artifacts} == shares
