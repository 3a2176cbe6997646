"""How a run was trained: its stages, and curves over their epochs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tledge.bundle.run_summary import Summary
from tledge.config import Stage
from tledge.errors import RunError
from tledge.report import charts
from tledge.report.charts import Chart
from tledge.run.folder import RunFolder


@dataclass(frozen=True)
class StageLine:
    """A stage that ran: epochs, seconds, validation accuracy at its end, and what the recipe asked for."""

    name: str
    epochs: int
    last: int
    """The epoch, counted over all stages, that it ended with."""
    seconds: float
    val_accuracy: float | None
    asked: Stage | None


@dataclass(frozen=True)
class Training:
    """`history.csv` in pictures."""

    epochs: int
    stages: tuple[StageLine, ...]
    charts: tuple[Chart, ...]


Row = dict[str, Any]


def read(folder: RunFolder, known: Summary) -> Training | None:
    """Read `history.csv`; None where there is none. Raises RunError for a damaged one."""
    rows = _history(folder)
    if not rows:
        return None
    stages = [row["stage"] for row in rows]
    return Training(len(rows), _stages(rows, known), (_loss(rows, stages), _accuracy(rows, stages)))


def _history(folder: RunFolder) -> list[Row]:
    if not folder.history.is_file():
        return []
    try:
        with folder.history.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            {name: text if name == "stage" else _number(text) for name, text in row.items()} for row in rows
        ]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise RunError(f"{folder.history}: damaged ({error}). Train again.") from error


def _number(text: str) -> float | None:
    return float(text) if text else None


def _stages(rows: Sequence[Row], known: Summary) -> tuple[StageLine, ...]:
    asked = {stage.name: stage for stage in known.recipe.stage} if known.recipe else {}
    made, last = [], 0
    for name, group in groupby(rows, lambda row: str(row["stage"])):
        epochs = list(group)
        last += len(epochs)
        seconds = sum(row.get("seconds") or 0.0 for row in epochs)
        made.append(
            StageLine(name, len(epochs), last, seconds, epochs[-1].get("val_accuracy"), asked.get(name))
        )
    return tuple(made)


def _series(rows: Sequence[Row], name: str) -> list[tuple[str, str, list[float | None]]]:
    kinds = (("train", "", "first"), ("validation", "val_", "second"))
    return [(title, kind, [row.get(prefix + name) for row in rows]) for title, prefix, kind in kinds]


def _loss(rows: Sequence[Row], stages: Sequence[str]) -> Chart:
    return charts.epochs_chart("Loss", stages, _series(rows, "loss"), low=0.0)


def _accuracy(rows: Sequence[Row], stages: Sequence[str]) -> Chart:
    return charts.epochs_chart("Accuracy", stages, _series(rows, "accuracy"), high=1.0)
