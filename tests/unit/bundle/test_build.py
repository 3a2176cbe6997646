"""Which artifacts a bundle ships: those that passed, and others only where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import fake_pairs
from tledge._io import files
from tledge.bundle import build, reader
from tledge.errors import ParityFailed, RunError
from tledge.run.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of two artifacts that passed."""
    return RunFolder(fake_pairs.run(tmp_path / "run"))


def judge(run: RunFolder, *verdicts: str) -> None:
    """Write other verdicts of the artifacts, in their order, into `parity.json`."""
    report = run.read_parity()
    rows = tuple(replace(row, verdict=verdict) for row, verdict in zip(report.rows, verdicts, strict=True))
    files.write_json(run.parity, replace(report, rows=rows))


@pytest.mark.parametrize("verdict", ["failed", "undecided", "skipped"])
def test_only_artifacts_that_passed_are_shipped(run: RunFolder, verdict: str) -> None:
    judge(run, "passed", verdict)
    bundled = build.bundle(run)
    assert (bundled.variants, bundled.left_out) == (("tflite-fp32",), ("onnx-fp32",))
    manifest = reader.open_bundle(bundled.folder).manifest
    assert [entry.variant for entry in manifest.artifacts] == ["tflite-fp32"] and not manifest.unverified
    assert not (bundled.folder / "onnx-fp32.onnx").exists()


@pytest.mark.parametrize("verdict", ["failed", "undecided", "skipped"])
def test_nothing_that_passed_is_no_bundle(run: RunFolder, verdict: str) -> None:
    judge(run, verdict, verdict)
    with pytest.raises(ParityFailed, match="no artifact passed verification"):
        build.bundle(run)
    assert not run.bundle.exists() and not list(run.path.glob("*.zip"))


def test_unverified_artifacts_are_shipped_where_asked_for_and_marked(run: RunFolder) -> None:
    judge(run, "passed", "undecided")
    bundled = build.bundle(run, unverified=True)
    assert bundled.left_out == ()
    manifest = reader.open_bundle(bundled.folder).manifest
    assert manifest.unverified and [entry.verdict for entry in manifest.artifacts] == ["passed", "undecided"]


def test_an_artifact_that_changed_after_verification_is_refused(run: RunFolder) -> None:
    (run.artifacts / "onnx-fp32.onnx").write_bytes(b"another")
    with pytest.raises(RunError, match=r"onnx-fp32\.onnx: changed after it was verified"):
        build.bundle(run)
    assert not run.bundle.exists()
