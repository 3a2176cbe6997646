"""The frozen records of a run: written, read back, and named where they are damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.helpers.run_records import RUN, fill
from tledge._io import files
from tledge._io.json_records import to_json
from tledge.errors import RunError, TledgeError
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, ParityReport, ParityRow, Reference, Risk, RiskCoverage

ROW = ParityRow("tflite-int8", "artifacts/tflite-int8.tflite", "ab" * 32, 4321, "undecided")

REPORT = ParityReport(
    passed=False,
    reference=Reference(0.91, 300, 0.02, coverage=0.95, answered_error=0.02),
    rows=(
        ROW,
        ParityRow(
            "onnx-fp32", "artifacts/onnx-fp32.onnx", "cd" * 32, 98765, "failed",
            accuracy=0.5, reasons=("weights dropped", "too small"), without_bias_correction={"accuracy": 0.1},
            ece=0.03, lost=3, won=1, moved=0, flips="evidence/onnx-fp32-flips.json", worst_class="rock",
            worst_class_change=-0.02, recall={"rock": (100, 0.95, 0.93), "手": (200, 0.89, 0.89)},
            coverage=0.7, answered_error=0.4, remarks=("answers 70.0% of the photos",),
        ),
    ),
)  # fmt: skip


def test_run_comes_back_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    files.write_json(folder.run, RUN)
    assert folder.read_run() == RUN


def test_run_of_earlier_version_is_read(tmp_path: Path) -> None:
    raw = {name: value for name, value in to_json(RUN).items() if name != "confidence"}
    files.write_json(RunFolder(tmp_path).run, raw)
    assert RunFolder(tmp_path).read_run() == replace(RUN, confidence=None)
    assert RunFolder(tmp_path).read_risk() == {}


def test_risk_comes_back_whole(tmp_path: Path) -> None:
    found = {"test": RiskCoverage(0.01, (Risk(0.3, 1.0, 0.05), Risk(0.8, 0.5, 0.0)))}
    folder = RunFolder(tmp_path)
    files.write_json(folder.risk, {split: asdict(one) for split, one in found.items()})
    assert folder.read_risk() == found
    folder.risk.write_text('{"test": {"rows": []}}')
    with pytest.raises(RunError, match=r"risk_coverage\.json: incomplete.*Train again"):
        folder.read_risk()


def test_run_json_keeps_its_names(tmp_path: Path) -> None:
    files.write_json(tmp_path / "run.json", RUN)
    raw = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert {"name", "seed", "labels", "input", "validation", "test"} <= raw.keys()
    assert {"height", "width", "dtype"} <= raw["input"].keys()
    assert {"images", "accuracy", "low", "high"} <= raw["test"].keys()


def test_parity_comes_back_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    files.write_json(folder.parity, REPORT)
    assert folder.read_parity() == REPORT


def test_parity_of_before_is_read(tmp_path: Path) -> None:
    """As written when rows told neither flips nor classes, and the reference no calibration error."""
    row = {"variant": "tflite-int8", "path": "artifacts/a", "sha256": "ab", "bytes": 1, "verdict": "passed"}
    old = {"passed": True, "reference": {"accuracy": 0.9, "images": 30}, "rows": [{**row, "reasons": []}]}
    files.write_json(tmp_path / "parity.json", old)
    found = RunFolder(tmp_path).read_parity()
    assert found.reference.ece is None
    assert (found.rows[0].flips, found.rows[0].lost, found.rows[0].recall) == ("", None, {})


def test_artifacts_come_back_by_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    made = [Artifact(name, f"artifacts/{name}", "ab", 1, 0.5, {"n": [1]}) for name in ("onnx-fp32", "a")]
    for one in made:
        files.write_json(folder.artifacts / f"{one.variant}.json", one)
    assert folder.read_artifacts() == sorted(made, key=lambda one: one.variant)


def read_run(folder: RunFolder) -> object:
    return folder.read_run()


def read_parity(folder: RunFolder) -> object:
    return folder.read_parity()


def read_artifacts(folder: RunFolder) -> object:
    return folder.read_artifacts()


@pytest.mark.parametrize("text", ["{}", '{"rows": null, "input": null}'])
@pytest.mark.parametrize(
    ("name", "read"),
    [("run.json", read_run), ("parity.json", read_parity), ("artifacts/a.json", read_artifacts)],
)
def test_incomplete_value_is_run_error(
    tmp_path: Path, name: str, read: Callable[[RunFolder], object], text: str
) -> None:
    fill(tmp_path, {name: text.encode()})
    with pytest.raises(RunError, match=r"\.json"):
        read(RunFolder(tmp_path))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"name": 1}', "[]", "", '{"labels": null}'])
def test_damaged_run_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(TledgeError, match=r"run\.json"):
        run_folder.RunFolder(tmp_path).read_run()


@pytest.mark.parametrize(("verdict", "expected"), [("undecided", False), ("passed", True)])
def test_any_bundled_is_of_the_rows(verdict: str, expected: bool) -> None:
    rows = (replace(ROW, verdict="failed"), replace(ROW, verdict=verdict))
    assert replace(REPORT, rows=rows).any_bundled is expected
