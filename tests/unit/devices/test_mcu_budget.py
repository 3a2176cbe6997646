"""The budget of a microcontroller: arena, flash, and what is said where they cannot be measured."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_graphs, fake_integer
from tests.helpers.microcontroller import ARENA, MODEL, filled_project, model_file, stand_in
from tests.helpers.paths import ROOT
from tledge._io import files
from tledge.config import Parity
from tledge.contract import InputSpec
from tledge.devices import mcu_budget, vela
from tledge.devices.vela import Estimate
from tledge.errors import ArtifactError, MissingError
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, ParityRow
from tledge.verification import parity
from tledge.verification.reasons import Reasons


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_file(tmp_path)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for tflite-micro and Vela."""
    stand_in(monkeypatch)


@pytest.fixture
def project(tmp_path: Path, measured: None) -> Path:
    return filled_project(tmp_path)


def test_budget_stands_in_project(project: Path) -> None:
    raw = json.loads((project / "budget.json").read_text())
    assert (raw["arena_bytes"], raw["flash_bytes"], raw["macs"]) == (ARENA, len(MODEL), 3456 + 1152 + 32)
    assert {"name": "QUANTIZE", "count": 2, "macs": 0} in raw["operators"]
    assert [one["configuration"] for one in raw["estimates"]] == list(vela.CONFIGURATIONS)
    text = (project / "budget.md").read_text()
    assert (
        "Arena: 16000 bytes (15.6 KiB)" in text
        and "outputs of all 6 golden cases equal LiteRT's reference kernels bit for bit" in text
    )
    assert "| ethos-u55-64 | 2.0 | 1.0 | 999 | 500 | 0.00 | 2 MEAN |" in text
    assert "kArenaBytes = 16000;" in (project / "generated/model_data.h").read_text()


def test_budget_says_that_vela_is_missing(
    model: Path, measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> Estimate:
        raise MissingError("Vela is not installed: pip install 'tledge[microcontroller]'")

    monkeypatch.setattr(vela, "estimate", missing)
    found = mcu_budget.measure(model, ARENA)
    assert found.estimates == ()
    assert "not estimated. Vela is not installed: pip install" in mcu_budget.as_markdown(found, 1)


def judged(
    path: Path, monkeypatch: pytest.MonkeyPatch, arena: Any, known: int | None = None, **limits: float
) -> ParityRow:
    def measure(_: Path) -> int:
        if isinstance(arena, Exception):
            raise arena
        return int(arena)

    monkeypatch.setattr(mcu_budget, "measure_arena", measure)
    row = ParityRow("tflite-int8", "", "", 0, "passed")
    return parity._check_memory(row, Reasons(), path, Parity(**limits), known)


@pytest.mark.parametrize(("arena", "verdict"), [(20 * 1024, "passed"), (20 * 1024 + 16, "failed")])
def test_arena_gate(model: Path, monkeypatch: pytest.MonkeyPatch, arena: int, verdict: str) -> None:
    row = judged(model, monkeypatch, arena, max_arena_kib=20)
    assert (row.verdict, row.structural) == (verdict, verdict == "failed")
    assert ("max_arena_kib allows 20" in " ".join(row.reasons)) == (verdict == "failed")


@pytest.mark.parametrize(("size", "verdict"), [(4096, "passed"), (4097, "failed")])
def test_flash_gate(model: Path, monkeypatch: pytest.MonkeyPatch, size: int, verdict: str) -> None:
    model.write_bytes(MODEL.ljust(size, b"\0"))
    row = judged(model, monkeypatch, 1, max_flash_kib=4)
    assert row.verdict == verdict and len(row.reasons) == (verdict == "failed")


def test_no_limit_measures_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(model, monkeypatch, AssertionError("measured")).verdict == "passed"


def test_unmeasured_arena_does_not_pass(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = judged(model, monkeypatch, MissingError("not installed: pip install it"), max_arena_kib=20)
    assert (
        row.verdict == "undecided" and "could not be checked: not installed: pip install it" in row.reasons[0]
    )


@pytest.mark.parametrize(("known", "verdict"), [(20 * 1024, "passed"), (20 * 1024 + 16, "failed")])
def test_arena_that_was_measured_before_counts(
    model: Path, monkeypatch: pytest.MonkeyPatch, known: int, verdict: str
) -> None:
    missing = MissingError("not installed")
    row = judged(model, monkeypatch, missing, known, max_arena_kib=20)
    assert (row.verdict, row.arena_bytes) == (verdict, known)


def test_model_that_does_not_start_fails(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = judged(model, monkeypatch, ArtifactError("no kernel for it"), max_arena_kib=20)
    assert row.verdict == "failed" and row.reasons == ("no kernel for it",)


@pytest.mark.parametrize(("limit", "told"), [(1, 1), (100, 0)])
def test_verification_holds_to_the_gate(model: Path, limit: int, told: int) -> None:
    images = fake_graphs.pictures(6)
    found = fake_integer.answers(MODEL, images)
    known = golden_set.Golden(images, found.argmax(1), found, tuple("abcdef"), {})
    artifact = Artifact("tflite-int8", model.name, files.sha256(model), len(MODEL), 1.0)
    limits = Parity(max_flash_kib=limit)
    standard = parity.Standard(fake_integer.LABELS, InputSpec(8, 8), 500, limits)
    row = parity.check(RunFolder(model.parent), artifact, known, standard, kernels="reference")
    assert sum("max_flash_kib allows 1" in reason for reason in row.reasons) == told
    assert row.agreement == 1.0


def test_gates_are_for_int8_alone(model: Path) -> None:
    row = ParityRow("tflite-fp32", "", "", 0, "passed")
    assert parity._check_memory(row, Reasons(), model, Parity(max_flash_kib=1)) == row


def planted(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name that is found first, in child processes too."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT), *sys.path]))


def test_missing_package_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path, "tflite_micro", "raise ImportError('no such thing')", monkeypatch)
    with pytest.raises(MissingError, match=r"pip install 'tledge\[microcontroller\]'"):
        mcu_budget.measure_arena(model)


def test_abort_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os, sys\nsys.stderr.write('check failed: x\\n'); sys.stderr.flush(); os.abort()"
    planted(tmp_path, "tflite_micro", text, monkeypatch)
    with pytest.raises(
        ArtifactError, match=r"(?s)tflite-int8.tflite: tflite-micro crashed .*SIGABRT.*check failed: x"
    ):
        mcu_budget.measure_arena(model)


RUNTIME = """
class runtime:
    class Interpreter:
        @classmethod
        def from_bytes(cls, model, arena_size):
            if arena_size < 1000:
                raise RuntimeError("TFLM failed to allocate tensors")
            return cls()
        def set_input(self, values, index):
            self.values = values
        def invoke(self):
            INVOKE
        def get_output(self, index):
            return self.values[:, 0, 0]
"""


def test_worker_runs_in_smallest_arena(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path, "tflite_micro", RUNTIME.replace("INVOKE", "pass"), monkeypatch)
    pixels = fake_graphs.pictures(3)
    ran = mcu_budget.micro_run(model, pixels)
    assert ran.arena == 1008 and np.array_equal(ran.outputs, pixels[:, 0, 0])
    with pytest.raises(ArtifactError, match="does not start in tflite-micro in an arena of 992 bytes"):
        mcu_budget.micro_run(model, pixels, 992)


def test_failing_run_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path, "tflite_micro", RUNTIME.replace("INVOKE", "raise RuntimeError('no')"), monkeypatch)
    with pytest.raises(ArtifactError, match=r"tflite-int8.tflite: starts in tflite-micro .* \(no\)"):
        mcu_budget.measure_arena(model)
