"""A check that was not run changes no verdict: what a machine without a runtime leaves in a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import fake_pairs
from tests.helpers.small_run import record
from tledge.bundle import build
from tledge.config import Parity
from tledge.errors import ArtifactError, MissingError
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow
from tledge.runtime import sandbox, sessions
from tledge.verification import parity, verify

ONNX = "onnx-fp32"
FLIPS = "evidence/onnx-fp32-flips.json"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose ONNX artifact passed elsewhere, on a machine without ONNX Runtime."""

    def missing(*_arguments: object) -> None:
        raise MissingError("needs ONNX Runtime: pip install onnxruntime")

    path = fake_pairs.run(tmp_path / "run")
    (path / "artifacts" / "tflite-fp32.json").unlink()
    monkeypatch.setattr(parity, "structural_reasons", lambda *_rest: [])
    monkeypatch.setattr(sessions, "_onnx_runtime_session", missing)
    monkeypatch.setattr(sandbox, "is_possible", lambda _library: False)  # another process would have it
    return path


def recorded(run: Path) -> dict[str, dict[str, Any]]:
    return {row["variant"]: row for row in json.loads((run / "parity.json").read_text())["rows"]}


def verified(run: Path) -> ParityRow:
    """What verification here says of the ONNX artifact."""
    return {row.variant: row for row in verify.verify_run(RunFolder(run), Parity()).rows}[ONNX]


def lengthen(run: Path) -> None:
    path = run / "artifacts" / "onnx-fp32.onnx"
    path.write_bytes(path.read_bytes() + b"x")


def test_verdict_of_an_unchecked_artifact_stays(run: Path) -> None:
    (run / FLIPS).parent.mkdir(exist_ok=True)
    (run / FLIPS).write_text("{}")
    report = json.loads((run / "parity.json").read_text())
    report["rows"][1]["flips"] = FLIPS
    (run / "parity.json").write_text(json.dumps(report))
    row = verified(run)
    assert row.verdict == "skipped" and "pip install onnxruntime" in row.reasons[0]
    assert row.remarks == ("its earlier verdict stays in parity.json: passed",)
    before = {name: value for name, value in recorded(run)[ONNX].items() if name in report["rows"][1]}
    assert before == report["rows"][1] and before["verdict"] == "passed"
    assert (run / FLIPS).is_file()


def test_artifact_that_was_never_checked_is_skipped(run: Path) -> None:
    (run / "parity.json").unlink()
    for _time in range(2):
        assert verified(run).remarks == () and recorded(run)[ONNX]["verdict"] == "skipped"


def test_changed_file_fails_without_its_runtime(run: Path) -> None:
    lengthen(run)
    report = verify.verify_run(RunFolder(run), Parity())
    assert isinstance(verify.failure(report), ArtifactError)
    assert recorded(run)[ONNX]["verdict"] == "failed" and recorded(run)[ONNX]["structural"]


def test_new_export_does_not_inherit_a_verdict(run: Path) -> None:
    lengthen(run)
    record(run, ONNX)
    assert verified(run).verdict == recorded(run)[ONNX]["verdict"] == "skipped"


def test_bundle_without_a_runtime_leaves_out_no_predictions(run: Path) -> None:
    with pytest.raises(MissingError, match=r"onnx-fp32.onnx: a bundle holds its predictions.*pip install"):
        build.bundle(RunFolder(run))
    assert not (run / "bundle").exists() and not list(run.glob("*.zip"))
