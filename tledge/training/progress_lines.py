"""The lines that training shows: what is trained and on what, and a table of the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tledge.config import Model, Stage
from tledge.models.backbones import BACKBONES, split_name
from tledge.recipe.definition import Recipe
from tledge.visualization.text_format import duration, percent

WORTH_SAYING = 20.0
"""Seconds left of a stage from which on they are said."""

TIMED_EPOCH = 2
"""The epoch of a stage whose seconds tell how long the others take; the first one also compiles."""

STAGE_WIDTH = 9
"""Columns for the name of a stage, so that a row has 58; a longer name makes its own table wider."""


def fact(name: str, value: str) -> str:
    """Return one line of the plan: a name, and what it is."""
    return f"  {name:<11} {value}"


def plan(recipe: Recipe, folder: Path) -> list[str]:
    """Return what the recipe alone says of a training, before any photo or library is loaded."""
    side = recipe.model.image_size
    stages = ", ".join(f"{stage.name} {_epochs(stage)}" for stage in recipe.stage)
    return [
        f"Training {recipe.meta.name}",
        fact("model", network(recipe.model)),
        fact("image size", f"{side} × {side} pixels"),
        fact("stages", stages),
        fact("source", recipe.data.source),
        fact("folder", str(folder)),
    ]


def network(table: Model) -> str:
    """Return the backbone of a `[model]` table with its width and its weights."""
    entry = BACKBONES.get(split_name(table.backbone)[0])
    width = f", alpha {table.alpha:g}" if entry and entry.takes_alpha else ""
    weights = {"imagenet": "ImageNet weights", "none": "random weights"}.get(table.weights, table.weights)
    return f"{table.backbone}{width}, {weights}"


def photos(counts: Mapping[str, int], labels: int) -> str:
    """Return the line of the plan with the number of photos in each split."""
    splits = ", ".join(f"{counts[split]:,} {split}" for split in ("train", "validation", "test"))
    return fact("photos", f"{splits}; {labels:,} labels")


def stage_line(stages: Sequence[Stage], number: int, how: str) -> str:
    """Return the line before a stage's table: its number as `--set` takes it; `how` says what is trained."""
    stage, key = stages[number], f"stage.{number}"
    name = f" {stage.name}" if stage.name != key else ""
    return f"{key}{name}: {how}, {_epochs(stage)}"


def _epochs(stage: Stage) -> str:
    up_to = "up to " if stage.patience else ""
    return f"{up_to}{stage.epochs} epoch{'s' * (stage.epochs != 1)}"


def header(stage: Stage) -> str:
    """Return the names of the columns of a stage's table."""
    name = "stage".ljust(_width(stage))
    return f"{name}{'epoch':>8}{'loss':>9}{'acc':>7}{'val loss':>10}{'val acc':>9}  best"


def row(stage: Stage, epoch: int, figures: Mapping[str, float], is_best: bool) -> str:
    """Return an epoch's row; `is_best` marks the best epoch of the stage so far."""
    cells = (
        f"{epoch}/{stage.epochs}".rjust(8),
        _loss(figures.get("loss")).rjust(9),
        percent(figures.get("accuracy")).rjust(7),
        _loss(figures.get("val_loss")).rjust(10),
        percent(figures.get("val_accuracy")).rjust(9),
    )
    return f"{stage.name.ljust(_width(stage))}{''.join(cells)}{'  *' * is_best}"


def time_left(stage: Stage, epoch: int, seconds: float) -> str:
    """Return the time that the other epochs of a stage take if each takes `seconds`; "" where it is short."""
    left = (stage.epochs - epoch) * seconds
    if epoch != TIMED_EPOCH or left < WORTH_SAYING:
        return ""
    most = "at most " if stage.patience else "about "
    return f"  {stage.name}: {most}{duration(left)} left ({stage.epochs - epoch} epochs)"


def _width(stage: Stage) -> int:
    return max(STAGE_WIDTH, len(stage.name))


def _loss(value: float | None) -> str:
    if value is None:
        return percent(None)
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"
