"""Checkpoints: a stage that was stopped resumes to the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.device_training import HALVING, built, fit, full_above
from tledge.config import Hardware
from tledge.training import callbacks, checkpoint
from tledge.training.accelerators import Engine


def test_halved_stage_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its third epoch, with the gradients of four pieces in the checkpoint's optimizer."""
    table = Hardware("float16", halve_batch=True)
    full_above(monkeypatch, 2)
    whole, killed, resumed = (built(table) for _ in range(3))
    fit(whole, HALVING, tmp_path / "whole", Engine(table))
    before, left = callbacks.update_best_epoch, [2]

    def dies(*rest: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return before(*rest)

    monkeypatch.setattr(callbacks, "update_best_epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, HALVING, tmp_path / "killed", Engine(table))
    monkeypatch.setattr(callbacks, "update_best_epoch", before)
    state = checkpoint.read_state(tmp_path / "killed" / "state.npz")
    assert state.epoch == 2 and state.accumulate == 4
    fit(resumed, HALVING, tmp_path / "killed", Engine(table), state)
    assert state.epoch == 3 and state.halved == {"all": 2}
    assert all(map(np.array_equal, whole.get_weights(), resumed.get_weights()))


def test_float16_resumes_byte_for_byte(tmp_path: Path) -> None:
    """Scale of the loss and count of steps since it grew are in the checkpoint; with averaged weights."""
    stage, engine = replace(HALVING, ema=0.9), Engine(Hardware("float16"))
    whole, killed = built(engine.table), built(engine.table)
    fit(whole, stage, tmp_path / "whole", engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            callbacks.keep_best(None, stage, checkpoint.State(), tmp_path).__class__,
            "finish",
            lambda _: None,
            False,
        )
        state = checkpoint.State()
        saved = checkpoint.save_checkpoint

        def dies(*rest: Any) -> None:
            saved(*rest)
            if state.epoch == 2:
                raise KeyboardInterrupt

        patch.setattr(checkpoint, "save_checkpoint", dies)
        with pytest.raises(KeyboardInterrupt):
            fit(killed, stage, tmp_path / "killed", engine, state)
    resumed = built(engine.table)
    fit(resumed, stage, tmp_path / "killed", engine, checkpoint.read_state(tmp_path / "killed" / "state.npz"))
    assert all(map(np.array_equal, whole.get_weights(), resumed.get_weights()))
    assert int(resumed.optimizer.iterations) == int(whole.optimizer.iterations) > 0
    assert int(resumed.optimizer.step_counter) == int(whole.optimizer.step_counter)
