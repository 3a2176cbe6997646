"""Gather the facts of a training: its stages, and curves over their epochs."""

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
    """A stage that ran: epochs, seconds, its final validation accuracy, and its table in the recipe."""

    name: str
    epochs: int
    last: int
    """Its last epoch, counted over all stages."""
    seconds: float
    val_accuracy: float | None
    config: Stage | None


@dataclass(frozen=True)
class Training:
    """`history.csv` as a table and charts."""

    epochs: int
    stages: tuple[StageLine, ...]
    charts: tuple[Chart, ...]


Row = dict[str, Any]


def read(folder: RunFolder, summary: Summary) -> Training | None:
    """Read `history.csv`; None without one. Raises RunError for a damaged one."""
    rows = _history(folder)
    if not rows:
        return None
    stages = [row["stage"] for row in rows]
    return Training(len(rows), _stages(rows, summary), (_loss(rows, stages), _accuracy(rows, stages)))


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


def _stages(rows: Sequence[Row], summary: Summary) -> tuple[StageLine, ...]:
    known = summary.recipe.stage if summary.recipe else ()
    configs = {f"stage {number}": stage for number, stage in enumerate(known, 1)}  # names of earlier versions
    configs |= {stage.name: stage for stage in known}
    lines, last = [], 0
    for name, group in groupby(rows, lambda row: str(row["stage"])):
        epochs = list(group)
        last += len(epochs)
        seconds = sum(row.get("seconds") or 0.0 for row in epochs)
        lines.append(
            StageLine(name, len(epochs), last, seconds, epochs[-1].get("val_accuracy"), configs.get(name))
        )
    return tuple(lines)


def _series(rows: Sequence[Row], name: str) -> list[tuple[str, str, list[float | None]]]:
    kinds = (("train", "", "first"), ("validation", "val_", "second"))
    return [(title, kind, [row.get(prefix + name) for row in rows]) for title, prefix, kind in kinds]


def _loss(rows: Sequence[Row], stages: Sequence[str]) -> Chart:
    return charts.epochs_chart("Loss", stages, _series(rows, "loss"), low=0.0)


def _accuracy(rows: Sequence[Row], stages: Sequence[str]) -> Chart:
    return charts.epochs_chart("Accuracy", stages, _series(rows, "accuracy"), high=1.0, in_percent=True)
