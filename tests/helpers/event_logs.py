"""Rows of a training's history."""

from __future__ import annotations

from typing import Any


def row(stage: str, epoch: int, seconds: float, *figures: float) -> dict[str, Any]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return {"stage": stage, "epoch": epoch, **dict(zip(names, figures, strict=True)), "seconds": seconds}


HISTORY = [
    row("head", 1, 2.0, 1.5, 0.5, 1.25, 0.625),
    row("head", 2, 1.5, 1.0, 0.75, 1.125, 0.5),
    row("all", 1, 4.0, 0.5, 1.0, 1.0, 0.75),
]
