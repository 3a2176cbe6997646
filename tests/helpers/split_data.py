"""Caches to split that hold no photos, and what splits are checked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.helpers.recipes import BARE
from tledge.config import Data
from tledge.data.cache import Prepared, Row
from tledge.recipe import loader

Rows = dict[str, NDArray[np.int64]]


def cache_of(rows: list[Row], folder: Path = Path("none")) -> Prepared:
    return Prepared(folder, tuple(sorted({row.label for row in rows})), tuple(rows), ())


def data(train: object, validation: object, test: object, group: str = "none") -> Data:
    """`[data]` with these splits, written as a recipe writes them."""
    lines = {"train": train, "validation": validation, "test": test}
    settings = [f"data.splits.{name}={toml(value)}" for name, value in lines.items()]
    return loader.parse(BARE, "x.toml", [*settings, f"data.group={json.dumps(group)}"]).data


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def share(origin: str, fraction: float) -> dict[str, object]:
    return {"from": origin, "fraction": fraction}


def lists(made: Rows) -> list[list[int]]:
    return [rows.tolist() for rows in made.values()]


def no_overlap(made: Rows) -> bool:
    together = np.concatenate(list(made.values()))
    return len(set(together.tolist())) == len(together)
