"""Define the checked recipe, one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tledge import config
from tledge.data.sources.registry import SOURCES


@dataclass(frozen=True)
class Recipe:
    """A checked recipe, with defaults filled in."""

    meta: config.Meta
    data: config.Data
    model: config.Model
    augment: config.Augment
    stage: tuple[config.Stage, ...]
    hardware: config.Hardware
    log: config.Log
    export: config.Export
    parity: config.Parity
    abstain: config.Abstain
    expect: config.Expect

    @property
    def synthetic(self) -> bool:
        """Whether the photos are drawn by tledge."""
        return SOURCES[self.data.source.partition(":")[0]].is_synthetic

    def as_tables(self) -> dict[str, Any]:
        """Return the tables as nested dictionaries, under the names that a recipe file uses."""
        return {table_name(field): value for field, value in asdict(self).items()}


def table_name(field: str) -> str:
    """Return the name of the TOML table that a field of `Recipe` holds: `meta` is the table `[recipe]`."""
    return TABLE_NAMES.get(field, field)


TABLE_NAMES = {"meta": "recipe"}
"""Fields of `Recipe` whose table has another name in a recipe file."""
