"""The models of a run beside the page: which files are opened."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tledge._process import subprocesses
from tledge.errors import ArtifactError, RunError
from tledge.models.keras_session import KerasSession
from tledge.preview.panel import KERAS, Panel, _opener
from tledge.run.folder import RunFolder
from tledge.runtime import sandbox
from tledge.runtime.model_file import ModelFile


def test_changed_artifact_is_not_opened(tmp_path: Path) -> None:
    """Its hash alone says that it is the file that was exported."""
    run = fake_artifacts.run(tmp_path / "run")
    artifact = next(entry for entry in RunFolder(run).read_artifacts() if entry.variant == "tflite-fp32")
    assert _opener(RunFolder(run), artifact)().run(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 3)
    (run / artifact.path).write_bytes(b"TFL3")
    with pytest.raises(RunError, match="missing, or changed since it was exported"):
        _opener(RunFolder(run), artifact)()


def test_artifact_that_is_exchanged_meanwhile_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes that were hashed are those that are opened, even if the file changes in between."""
    run = fake_artifacts.run(tmp_path / "run")
    artifact = next(entry for entry in RunFolder(run).read_artifacts() if entry.variant == "tflite-fp32")

    def exchange(model: ModelFile) -> str:
        (run / artifact.path).write_bytes(b"exchanged")
        return hashlib.sha256(model.content).hexdigest()

    monkeypatch.setattr(ModelFile, "sha256", property(exchange))
    assert _opener(RunFolder(run), artifact)().run(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 3)
    assert (run / artifact.path).read_bytes() == b"exchanged"


def test_artifact_is_opened_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash says only that the run's own record fits to it."""
    run = fake_artifacts.run(tmp_path / "run")
    artifact = next(entry for entry in RunFolder(run).read_artifacts() if entry.variant == "tflite-fp32")

    sandbox.close_all()
    with monkeypatch.context() as patched:
        crash = [sys.executable, "-c", "import os; os.abort()"]
        patched.setattr(subprocesses, "worker_command", lambda *_given: crash)
        with pytest.raises(ArtifactError, match=r"tflite-fp32\.tflite: LiteRT with xnnpack kernels crashed"):
            _opener(RunFolder(run), artifact)()


def test_closed_panel_ends_the_process_of_the_keras_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Path] = []

    class Session(KerasSession):
        def __init__(self, path: Path) -> None:
            self.path = path

        def close(self) -> None:
            closed.append(self.path)

    monkeypatch.setattr("tledge.preview.panel.KerasSession", Session)
    run = fake_artifacts.run(tmp_path / "run")
    panel = Panel(run)
    panel._sessions[KERAS].result()
    panel.close()
    assert closed == [run / "model.keras"]
