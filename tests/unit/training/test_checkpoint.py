"""The state inside a checkpoint, as files of earlier versions hold it too."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.run_records import SCORE
from tledge._io.json_records import from_json
from tledge.training import checkpoint
from tledge.training.checkpoint import State

OLD = """{
  "stage": 1, "epoch": 2, "best": 0.5, "best_epoch": 1, "wait": 0, "stopped": false, "accumulate": 1,
  "halved": {"head": 4}, "history": [{"stage": "head", "epoch": 1, "loss": 0.7}],
  "frozen": {"images": 120, "accuracy": 0.95, "low": 0.9, "high": 0.975, "top5": null}
}"""


def test_a_checkpoint_of_an_earlier_version_opens() -> None:
    state = from_json(State, json.loads(OLD))
    assert state.first_stage_validation == SCORE
    assert (state.stage, state.epoch, state.halved) == (1, 2, {"head": 4})


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for state in (State(), State(stage=1, best=0.25, first_stage_validation=SCORE, history=[{"epoch": 1}])):
        checkpoint.save_checkpoint(tmp_path / "state.npz", None, state, [])
        assert checkpoint.read_state(tmp_path / "state.npz") == state


def test_without_a_checkpoint_training_begins(tmp_path: Path) -> None:
    assert checkpoint.read_state(tmp_path / "state.npz") == State()


def test_a_stage_begins_without_the_last_one() -> None:
    state = State(
        stage=0, epoch=3, best=0.5, best_epoch=2, wait=1, stopped=True, accumulate=4, halved={"a": 2}
    )
    state.begin_stage(1)
    assert state == State(stage=1, halved={"a": 2})


def test_a_restarted_stage_forgets_its_own_epochs_alone() -> None:
    state = State(stage=1, epoch=2, best=0.5, best_epoch=1, history=[{"epoch": n} for n in (1, 1, 2)])
    state.restart_stage(accumulate=2)
    assert state == State(stage=1, accumulate=2, history=[{"epoch": 1}])
