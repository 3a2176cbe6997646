"""What a model says of itself, once it is opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFacts:
    """What a model says of itself.

    `low` and `high` are what its own preprocessing makes of inputs from 0 to 255, `low_of_one` and
    `high_of_one` of inputs from 0 to 1. `names` are the names of the model, of nested ones and of its layers;
    `ending` is that of `normalizing.Parts`. `is_contract` tells that it is as tledge makes a model.
    """

    framework: str
    version: str
    size: tuple[int, int]
    channels: int
    classes: int
    parameters: int
    ending: str
    removed: tuple[str, ...]
    names: tuple[str, ...]
    retyped: bool
    has_preprocessing: bool
    low: float
    high: float
    low_of_one: float
    high_of_one: float
    is_contract: bool
