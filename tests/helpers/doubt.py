"""A fitted temperature and threshold, and models that answer with them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from tests.helpers.fake_artifacts import run
from tledge._io import files
from tledge.contract import AbstentionPolicy
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow, Risk, RiskCoverage

FITTED = AbstentionPolicy(temperature=2.0, threshold=0.62, images=300, coverage=0.95, error=0.01)


def row(variant: str, coverage: float | None, *remarks: str) -> ParityRow:
    return ParityRow(
        variant, "a", "ab" * 32, 1, "passed", coverage=coverage, answered_error=0.02, remarks=remarks
    )


def risky(path: Path) -> Path:
    folder = RunFolder(run(path))
    files.write_json(folder.run, replace(folder.read_run(), confidence=FITTED))
    curve = asdict(RiskCoverage(0.01, (Risk(0.31, 1.0, 0.05), Risk(0.75, 0.9, 0.004))))
    files.write_json(folder.risk, {"validation": curve, "test": curve})
    return path
