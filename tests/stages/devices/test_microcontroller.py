"""A trained bundle as a microcontroller project: its arena and its estimates."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_graphs, fake_integer
from tests.helpers.microcontroller import MODEL, as_bytes, model_file, needs_vela
from tledge.devices import mcu_budget, projects, vela
from tledge.errors import ArtifactError

needs_micro = pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro is not installed")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_file(tmp_path)


@needs_micro
def test_arena_is_what_it_takes(model: Path) -> None:
    pixels = fake_graphs.pictures(6)
    ran = mcu_budget.micro_run(model, pixels)
    assert np.array_equal(ran.outputs, as_bytes(fake_integer.answers(MODEL, pixels)))
    assert len(np.unique(ran.outputs, axis=0)) > 3
    assert mcu_budget.micro_run(model, pixels[:1], ran.arena).arena == ran.arena
    with pytest.raises(ArtifactError, match=r"(?s)does not start in tflite-micro in an arena .*Failed to"):
        mcu_budget.micro_run(model, pixels[:1], ran.arena - 1024)


@needs_micro
@needs_vela
def test_trained_bundle_becomes_project(small_run: Path, tmp_path: Path) -> None:
    made = projects.fill("microcontroller", small_run / "bundle", tmp_path / "project").folder
    raw = json.loads((made / "budget.json").read_text())
    assert 0 < raw["arena_bytes"] < 1 << 20 and raw["macs"] > 100_000
    assert len(raw["estimates"]) == len(vela.CONFIGURATIONS)
    assert all(one["cycles"] > 0 and one["on_cpu"] == {} for one in raw["estimates"])
