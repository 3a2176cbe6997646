"""A training that tells MLflow of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_mlflow import TEXT, FakeMlflow, installed


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    return installed(monkeypatch)


def test_training_tells_mlflow(
    fake: FakeMlflow, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(TEXT)
    short = ("--set", "stage.0.epochs=2", "--set", "data.train=120", "--set", "data.test=30")
    done = cli("train", "small.toml", "--quiet", *short)
    assert done.code == 0, done.err
    assert [step for step, _figures in fake.calls("log_metrics")] == [1, 2, None]
    figures = json.loads((tmp_path / "runs/small/run.json").read_text())
    assert fake.calls("log_metrics")[2][1]["final_test_accuracy"] == figures["test"]["accuracy"]
    assert all(Path(path).is_file() for path in fake.calls("log_artifact"))
    assert not (tmp_path / "runs/small/tensorboard").exists()
