"""Rows of a training's history, and the records of event files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tledge.training.loggers import event_file


def row(stage: str, epoch: int, seconds: float, *figures: float) -> dict[str, Any]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return {"stage": stage, "epoch": epoch, **dict(zip(names, figures, strict=True)), "seconds": seconds}


HISTORY = [
    row("head", 1, 2.0, 1.5, 0.5, 1.25, 0.625),
    row("head", 2, 1.5, 1.0, 0.75, 1.125, 0.5),
    row("all", 1, 4.0, 0.5, 1.0, 1.0, 0.75),
]


def contents(path: Path) -> list[bytes]:
    """Return the records of an event file; check their lengths and checksums."""
    data, records = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        records.append(data[12 : 12 + length])
        assert data[8:12] == event_file._checksum(data[:8])
        assert data[12 + length : 16 + length] == event_file._checksum(records[-1])
        data = data[16 + length :]
    return records
