"""A check that was not run changes no verdict: what a machine without a runtime leaves in a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import fake_pairs, fake_report
from tests.helpers.command_line import Cli
from tledge.bundle import build
from tledge.errors import MissingError
from tledge.run.folder import RunFolder
from tledge.runtime import sessions
from tledge.verification import parity

ONNX = "onnx-fp32"


@pytest.fixture
def verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose two artifacts have verdicts and lists of predictions that differ."""
    path = fake_report.run(tmp_path / "run")
    monkeypatch.setattr(parity, "structural_reasons", lambda *_rest: [])
    return path


@pytest.fixture
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_arguments: object) -> None:
        raise MissingError("needs ONNX Runtime: pip install onnxruntime")

    monkeypatch.setattr(sessions, "_onnx_runtime_session", missing)


def recorded(run: Path) -> dict[str, dict[str, Any]]:
    return {row["variant"]: row for row in json.loads((run / "parity.json").read_text())["rows"]}


def evidence(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "evidence").glob("*-flips.*")}


def test_verdict_of_an_unchecked_artifact_stays(cli: Cli, verified: Path, no_onnx: None) -> None:
    before, files = recorded(verified)[ONNX], evidence(verified)
    done = cli("verify", verified, "--json", "--quiet")
    shown = {row["variant"]: row for row in json.loads(done.out)["rows"]}
    assert shown[ONNX]["verdict"] == "skipped" and "pip install onnxruntime" in shown[ONNX]["reasons"][0]
    assert shown[ONNX]["remarks"] == ["its earlier verdict stays in parity.json: passed"]
    assert recorded(verified)[ONNX] == before and before["verdict"] == "passed"
    assert evidence(verified) == files and any(ONNX in name for name in files)


def test_artifact_that_was_never_checked_is_skipped(cli: Cli, verified: Path, no_onnx: None) -> None:
    (verified / "parity.json").unlink()
    cli("verify", verified, "--quiet")
    assert recorded(verified)[ONNX]["verdict"] == "skipped"
    cli("verify", verified, "--quiet")
    assert recorded(verified)[ONNX]["verdict"] == "skipped"


def test_changed_file_fails_without_its_runtime(cli: Cli, verified: Path, no_onnx: None) -> None:
    path = verified / "artifacts" / "onnx-fp32.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    assert cli("verify", verified, "--quiet").code == 4
    assert recorded(verified)[ONNX]["verdict"] == "failed"


def test_new_export_does_not_inherit_a_verdict(cli: Cli, verified: Path, no_onnx: None) -> None:
    record, path = verified / "artifacts" / "onnx-fp32.json", verified / "artifacts" / "onnx-fp32.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    facts = json.loads(record.read_text())
    record.write_text(json.dumps({**facts, "sha256": RunFolder(verified).sha256(path)}))
    cli("verify", verified, "--quiet")
    assert recorded(verified)[ONNX]["verdict"] == "skipped"


def test_bundle_without_a_runtime_leaves_out_no_predictions(tmp_path: Path, no_onnx: None) -> None:
    folder = RunFolder(fake_pairs.run(tmp_path / "run"))
    with pytest.raises(MissingError, match=r"onnx-fp32.onnx: a bundle holds its predictions.*pip install"):
        build.bundle(folder)
    assert not folder.bundle.exists() and not list(folder.path.glob("*.zip"))
