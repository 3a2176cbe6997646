"""The cases about faults in training and recipes notice a fault that is planted in what they judge."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.helpers.paths import ROOT

TORTURE = ROOT / "torture"


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """Its modules import one another as they lie, as those of `benchmarks` do, some by the same names."""
    names = {path.stem for path in TORTURE.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & set(sys.modules)}
    sys.path.insert(0, str(TORTURE))
    yield {name: importlib.import_module(name) for name in ("child", "faults", "recipes", "sets")}
    sys.path.remove(str(TORTURE))
    for name in names & set(sys.modules):
        del sys.modules[name]
    sys.modules.update(others)


def ended(modules: dict[str, ModuleType], code: int = 2, err: str = "tledge: x.toml: bad") -> object:
    return modules["child"].Ended(code, "", err, 0.1, 50.0)


def test_good_end_has_no_faults(modules: dict[str, ModuleType]) -> None:
    assert modules["recipes"].faults(ended(modules), 2, ("x.toml", "bad")) == []


@pytest.mark.parametrize(
    ("code", "err", "hung", "word"),
    [
        (1, "tledge: x.toml: bad", False, "exit 1 instead of 2"),
        (2, "tledge: y.toml: bad", False, "does not say 'x.toml'"),
        (2, "x.toml bad\nTraceback (most recent call last):", False, "traceback"),
        (2, "x.toml bad", True, "hung"),
    ],
)
def test_bad_end_is_noticed(
    modules: dict[str, ModuleType], code: int, err: str, hung: bool, word: str
) -> None:
    end = replace(ended(modules, code, err), hung=hung)  # type: ignore[type-var]
    assert word in "\n".join(modules["recipes"].faults(end, 2, ("x.toml", "bad")))


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


def test_good_run_has_no_faults(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    assert list(modules["faults"].run_faults(run_with(tmp_path, "a\nb\n"))) == []


@pytest.mark.parametrize(("labels", "low", "word"), [("b\na\n", 0.2, "labels.txt"), ("a\nb\n", 0.6, "score")])
def test_bad_run_is_noticed(
    modules: dict[str, ModuleType], tmp_path: Path, labels: str, low: float, word: str
) -> None:
    assert word in "\n".join(modules["faults"].run_faults(run_with(tmp_path, labels, low)))


def test_verdict_without_reason_is_noticed(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    row = {"variant": "tflite-int8", "verdict": "undecided", "reasons": []}
    (tmp_path / "parity.json").write_text(json.dumps({"rows": [row]}))
    trial = next(iter(modules["faults"].TRAINED.values()))
    ends = [ended(modules, 3), ended(modules, 3)]
    found = list(modules["faults"].verification_faults(trial, ends, tmp_path))
    assert found == ["tflite-int8 is undecided without a reason"]


@pytest.mark.parametrize(("weight", "word"), [(1.0, ""), (float("nan"), "hold no numbers")])
def test_checkpoint_of_no_numbers_is_noticed(
    modules: dict[str, ModuleType], tmp_path: Path, weight: float, word: str
) -> None:
    (tmp_path / "checkpoints").mkdir()
    state = np.array(json.dumps({"epoch": 2}))
    np.savez(tmp_path / "checkpoints" / "state.npz", state=state, **{"now.0": np.array([weight])})
    epochs, problem = modules["faults"].checkpoint(tmp_path)
    assert epochs == 2 and word in problem and bool(problem) == bool(word)


@pytest.mark.slow
def test_records_are_read_by_tledge(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    source = modules["sets"].records(tmp_path, [3, -1])
    path = source.partition(":")[2]
    found = [tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(path)]
    assert [one.features.feature["class"].int64_list.value[0] for one in found] == [3, -1]
