"""The microcontroller project of a small integer model, and stand-ins for what measures it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_integer
from tledge.devices import mcu_budget, projects, vela
from tledge.devices.mcu_budget import MicroRun
from tledge.devices.vela import Estimate

ARENA = 16_000

MODEL = fake_integer.model()


def as_bytes(answers: Any) -> Any:
    return np.round(answers * 256).astype(np.uint8)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tflite-micro need 16,000 bytes and answer as LiteRT does, and Vela give one estimate."""

    def run(path: Path, inputs: Any, arena: int = 0) -> MicroRun:
        return MicroRun(ARENA, as_bytes(fake_integer.answers(path.read_bytes(), inputs)))

    def estimate(data: bytes, name: str, configuration: str) -> Estimate:
        return Estimate(
            configuration, 2048, 1024, 999, 500.0, 0.002, {"MEAN": 2} if "64" in configuration else {}
        )

    monkeypatch.setattr(mcu_budget, "micro_run", run)
    monkeypatch.setattr(vela, "estimate", estimate)


def model_file(folder: Path) -> Path:
    """The model as a file."""
    path = folder / "tflite-int8.tflite"
    path.write_bytes(MODEL)
    return path


def filled_project(folder: Path) -> Path:
    """The project with a bundle of the model."""
    bundle = fake_integer.bundle(folder / "bundle", MODEL)
    return projects.fill("microcontroller", bundle, folder / "project").folder


needs_vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="Vela is not installed")
