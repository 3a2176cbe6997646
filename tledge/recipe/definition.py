"""The checked recipe, one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from tledge import config
from tledge.data.sources.registry import SOURCES


@dataclass(frozen=True)
class Recipe:
    """Everything that a recipe says, defaults filled in."""

    recipe: config.About
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
        """True where the photos are drawn and not taken."""
        return SOURCES[self.data.source.partition(":")[0]].synthetic
