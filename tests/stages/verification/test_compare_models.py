"""Two trained networks compared by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import Cli
from tledge.runtime.latency import Minimum
from tledge.verification import compare_models


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a clock."""
    monkeypatch.setattr(compare_models, "STRETCH", Minimum(1, 0.0))


def test_real_networks_are_compared(small_run: Path, own_run: Path, cli: Cli) -> None:
    """A trained network beside itself with one logit held down: the lost points are named."""
    from tests.helpers.conversions import converted

    def weakened(keras_model: Any) -> None:
        layer = keras_model.get_layer("logits")
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * [1, 1, 0.2], bias])

    same = cli("compare", small_run / "bundle", small_run, "--quiet")
    assert same.code == 0, same.out + same.err
    assert "saved_model: a server format" in same.out
    assert sum(line.rstrip().endswith("same file") for line in same.out.splitlines()) == 3
    converted(own_run, "tflite-fp32", weakened)
    done = cli("compare", small_run / "bundle", own_run, "--quiet")
    assert done.code == 3, done.out
    assert "B is worse than A beyond the gates: tflite-fp32." in done.out
    assert "tflite-fp32: recall of class scissors fell" in done.out
    assert "did not pass verification" in done.out
