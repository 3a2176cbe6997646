"""Checkpoint files: the state inside, as earlier versions wrote it too, and what is damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_keras
from tests.helpers.run_records import SCORE
from tledge._io import npy
from tledge._io.json_records import from_json
from tledge.errors import RunError
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "state.npz"
    checkpoint.save_checkpoint(made, None, State(stage=1, epoch=2, best=0.5), [np.arange(6.0), np.eye(2)])
    return made


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def claim_gigabytes(path: Path) -> None:
    npy.write_npz(path, {"state": np.zeros(1, np.uint8)})
    short, long = b"(1,), }" + b" " * 12, b"(9999999999999,), }"
    assert short in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(short, long))


def hold_objects(path: Path) -> None:
    np.savez(path, state=np.array([{"a": 1}], object))


def forget_the_state(path: Path) -> None:
    npy.write_npz(path, {"kept.00000": np.eye(2)})


def hold_other_fields(path: Path) -> None:
    npy.write_npz(path, {"state": np.array('{"stage": "first"}')})


def test_kept_weights_come_back(path: Path) -> None:
    kept = checkpoint.load_checkpoint(path, None)
    assert np.array_equal(kept[0], np.arange(6.0)) and np.array_equal(kept[1], np.eye(2))


@pytest.mark.parametrize("damage", [cut, claim_gigabytes, hold_objects, forget_the_state, hold_other_fields])
def test_damage_is_named(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    with pytest.raises(RunError, match=re.escape(str(path))):
        checkpoint.read_state(path)


def test_checkpoint_of_another_network_is_refused(path: Path) -> None:
    class Variable:
        shape = (2,)

    class Network:
        variables = (Variable(),)
        optimizer = None

    with pytest.raises(RunError, match=r"another recipe\. Start over with --force"):
        checkpoint.load_checkpoint(path, Network())


def test_optimizer_and_generators_resume_where_they_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learning rate follows from the steps of the optimizer: without them its schedule would restart."""
    fake_keras.install(monkeypatch)
    killed, resumed = fake_keras.Network(), fake_keras.Network()
    killed.weight.assign([1.5, -2.0])
    killed.generator.assign([7, 40])
    killed.optimizer.iterations.assign(120)
    checkpoint.save_checkpoint(tmp_path / "state.npz", killed, State(epoch=2), [])
    assert checkpoint.load_checkpoint(tmp_path / "state.npz", resumed) == []
    assert int(resumed.optimizer.iterations.value) == 120
    assert resumed.weight.value.tolist() == [1.5, -2.0] and resumed.generator.value.tolist() == [7, 40]
