"""The judging of bills of materials in torture/ notices one that is invalid, or not true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers import fake_device_bundle, fake_report
from tledge._io import files
from tledge.bundle import build as stage
from tledge.environment import packages
from tledge.run.folder import RunFolder
from torture.cases import dependencies


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A bundled run that noted what it was trained with."""
    made = RunFolder(fake_report.run(tmp_path_factory.mktemp("bills") / "tiny"))
    facts = json.loads(made.environment.read_text())
    files.write_json(made.environment, {**facts, "installed": packages.made_with()["packages"]})
    stage.bundle(made)
    return made.path


def bill(run: Path) -> bytes:
    return (run / "bundle" / dependencies.SBOM).read_bytes()


def test_true_bill_passes(run: Path) -> None:
    pytest.importorskip("tensorflow")  # one of what has to be noted
    assert (
        dependencies._schema_faults(bill(run)) == []
        and dependencies._content_faults(run, json.loads(bill(run))) == []
    )


def test_invalid_bill_is_noticed(run: Path) -> None:
    (fault,) = dependencies._schema_faults(
        bill(run).replace(b'"bomFormat": "CycloneDX"', b'"bomFormat": "Cyclone"')
    )
    assert "Cyclone" in fault


def test_untrue_bill_is_noticed(run: Path) -> None:
    wrong = bill(run).replace(b'"version": "' + packages.installed()["keras"].encode(), b'"version": "1')
    assert any(fault.startswith("keras ") for fault in dependencies._content_faults(run, json.loads(wrong)))
    fake_device_bundle.change_byte(run / "bundle" / "onnx-fp32.onnx")
    faults = dependencies._content_faults(run, json.loads(bill(run)))
    fake_device_bundle.change_byte(run / "bundle" / "onnx-fp32.onnx")
    assert faults == ["onnx-fp32.onnx: not the file of the bill"]
