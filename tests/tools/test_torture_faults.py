"""The cases about faults in training and recipes notice a fault that is planted in what they judge."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from torture.cases import training_faults
from torture.inputs import odd_trainings, photo_sets
from torture.support import command_checks, processes


def ended(code: int = 2, err: str = "tledge: x.toml: bad") -> processes.ProcessResult:
    return processes.ProcessResult(code, "", err, 0.1, 50.0)


def test_good_end_has_no_faults() -> None:
    assert command_checks.command_faults(ended(), 2, ("x.toml", "bad")) == []


@pytest.mark.parametrize(
    ("code", "err", "hung", "word"),
    [
        (1, "tledge: x.toml: bad", False, "exit 1 instead of 2"),
        (2, "tledge: y.toml: bad", False, "does not say 'x.toml'"),
        (2, "x.toml bad\nTraceback (most recent call last):", False, "traceback"),
        (2, "x.toml bad", True, "hung"),
    ],
)
def test_bad_end_is_noticed(code: int, err: str, hung: bool, word: str) -> None:
    end = replace(ended(code, err), hung=hung)
    assert word in "\n".join(command_checks.command_faults(end, 2, ("x.toml", "bad")))


def run_with(folder: Path, labels: str, low: float = 0.2) -> Path:
    score = {"accuracy": 0.5, "low": low, "high": 0.8}
    facts = {
        "validation": score,
        "test": score,
        "labels": ["a", "b"],
        "confidence": {"temperature": 1.0},
    }
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "labels.txt").write_text(labels)
    return folder


def test_good_run_has_no_faults(tmp_path: Path) -> None:
    assert list(training_faults.run_faults(run_with(tmp_path, "a\nb\n"))) == []


@pytest.mark.parametrize(("labels", "low", "word"), [("b\na\n", 0.2, "labels.txt"), ("a\nb\n", 0.6, "score")])
def test_bad_run_is_noticed(tmp_path: Path, labels: str, low: float, word: str) -> None:
    assert word in "\n".join(training_faults.run_faults(run_with(tmp_path, labels, low)))


def test_verdict_without_reason_is_noticed(tmp_path: Path) -> None:
    row = {"variant": "tflite-int8", "verdict": "undecided", "reasons": []}
    (tmp_path / "parity.json").write_text(json.dumps({"rows": [row]}))
    trial = next(iter(odd_trainings.TRAINED.values()))
    results = [ended(3), ended(3)]
    found = list(training_faults.verification_faults(trial, results, tmp_path))
    assert found == ["tflite-int8 is undecided without a reason"]


@pytest.mark.parametrize(("weight", "word"), [(1.0, ""), (float("nan"), "hold no numbers")])
def test_checkpoint_of_no_numbers_is_noticed(tmp_path: Path, weight: float, word: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    state = np.array(json.dumps({"epoch": 2}))
    np.savez(tmp_path / "checkpoints" / "state.npz", state=state, **{"now.0": np.array([weight])})
    epochs, problem = training_faults.checkpoint(tmp_path)
    assert epochs == 2 and word in problem and bool(problem) == bool(word)


@pytest.mark.slow
def test_records_are_read_by_tledge(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    source = photo_sets.write_tfrecord(tmp_path, [3, -1])
    path = source.partition(":")[2]
    found = [tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(path)]
    assert [one.features.feature["class"].int64_list.value[0] for one in found] == [3, -1]
