"""`[log] mlflow`, with a stand-in for MLflow that writes down what it is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers.blocking import block
from tests.helpers.command_line import Cli
from tests.helpers.fake_mlflow import TEXT, FakeMlflow, installed
from tests.helpers.small_run import SMALL
from tledge.errors import MissingError
from tledge.recipe import loader
from tledge.run.folder import RunFolder
from tledge.training.loggers import mlflow_logger


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    return installed(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that is finished, as far as MLflow is told."""
    score = {"images": 10, "accuracy": 0.5, "low": 0.2, "high": 0.8}
    run = {
        "name": "small", "version": "1", "seed": 0, "description": "", "synthetic": True, "labels": ["a"],
        "input": {"height": 48, "width": 48, "dtype": "uint8"}, "backbone": "tiny", "parameters": 9,
        "train_images": 30, "seconds": 1.0, "cache": "",
        "validation": score, "test": {**score, "accuracy": 0.75}, "frozen": score,
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    return RunFolder(tmp_path)


@pytest.mark.parametrize(("before", "after"), [(None, "true"), ("false", "false")])
def test_mlflow_reports_no_use(
    before: str | None, after: str, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(mlflow_logger.TELEMETRY, before or "")
    if before is None:
        monkeypatch.delenv(mlflow_logger.TELEMETRY)
    assert mlflow_logger.library() is fake and os.environ[mlflow_logger.TELEMETRY] == after


ROW = {"stage": "all", "epoch": 1, "loss": 1.5, "val_loss": 2.0, "seconds": 0.5}

MADE = loader.parse(TEXT, "small.toml")


def test_mlflow_is_told_of_a_training(fake: FakeMlflow, folder: RunFolder) -> None:
    with mlflow_logger.recorded(MADE, folder) as tell:
        tell([ROW])
        tell([ROW, {**ROW, "epoch": 2, "loss": 1.0}])
    assert fake.told[0] == ("set_experiment", "small")
    assert fake.calls("start_run") == [(None, folder.path.name)]
    params = {name: value for some in fake.calls("log_params") for name, value in some.items()}
    assert params["stage.0.learning_rate"] == 4e-3 and params["data.options.train"] == 900
    first, second, last = fake.calls("log_metrics")
    assert first == (1, {"loss": 1.5, "val_loss": 2.0, "seconds": 0.5})
    assert second[0] == 2 and second[1]["loss"] == 1.0
    assert last == (None, {"final_validation_accuracy": 0.5, "final_test_accuracy": 0.75})
    assert [Path(one).name for one in fake.calls("log_artifact")] == list(mlflow_logger.FILES)
    assert fake.told[-1] == ("end_run",)


def test_killed_training_goes_on_in_its_run(fake: FakeMlflow, folder: RunFolder) -> None:
    with pytest.raises(KeyboardInterrupt), mlflow_logger.recorded(MADE, folder):
        raise KeyboardInterrupt
    assert fake.told[-1] == ("end_run", "FAILED")
    told = len(fake.calls("log_params"))
    with mlflow_logger.recorded(MADE, folder) as tell:
        tell([ROW])
    assert fake.calls("start_run")[1] == ("abc123", folder.path.name)
    assert len(fake.calls("log_params")) == told > 0


def test_every_key_has_the_name_that_set_takes() -> None:
    from dataclasses import asdict

    keys = mlflow_logger.flat(asdict(MADE))
    assert keys["log.mlflow"] is True and keys["export.variants"] == MADE.export.variants
    assert (
        loader.parse(TEXT, "small.toml", [f"stage.0.epochs={keys['stage.0.epochs'] + 1}"]).stage[0].epochs
        == 15
    )


def test_missing_mlflow_is_five(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(TEXT)
    block(monkeypatch, {"mlflow"})
    done = cli("train", "small.toml", "--quiet")
    assert done.code == 5 and "pip install mlflow" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_missing_mlflow_is_no_matter_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge.training.loggers import registry

    block(monkeypatch, {"mlflow"})
    registry.require(loader.parse(SMALL, "small.toml"))
    with pytest.raises(MissingError):
        registry.require(MADE)
