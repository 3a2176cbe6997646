"""A stand-in for MLflow that writes down what it is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.helpers.small_run import SMALL

TEXT = SMALL + "[log]\nmlflow = true\ntensorboard = false\n"


class FakeMlflow(ModuleType):
    """The part of MLflow's API that is used; `told` holds every call in order."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.told: list[tuple[str, Any]] = []

    def start_run(self, run_id: str | None, run_name: str) -> Any:
        self.told.append(("start_run", (run_id, run_name)))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or "abc123"))

    def log_params(self, params: dict[str, Any]) -> None:
        assert len(params) <= 100, "MLflow takes no more at once"
        self.told.append(("log_params", params))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert all(isinstance(one, float) for one in metrics.values())
        self.told.append(("log_metrics", (step, metrics)))

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in ("set_experiment", "set_tags", "log_artifact", "end_run"):
            raise AttributeError(name)
        return lambda *values: self.told.append((name, *values))

    def calls(self, name: str) -> list[Any]:
        return [values[0] if values else None for called, *values in self.told if called == name]


def installed(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    """What `import mlflow` gives until the test ends."""
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return fake
