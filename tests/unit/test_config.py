"""The recipe's tables: defaults that are allowed, meanings that are told, values that are not shared."""

from __future__ import annotations

import dataclasses
from dataclasses import Field
from typing import Any

import pytest

from tledge import config

TABLES = (
    config.Meta, config.Data, config.Model, config.Augment, config.Stage, config.Hardware, config.Log,
    config.Calibration, config.Int8, config.Export, config.Parity, config.Abstain, config.Expect,
)  # fmt: skip

KEYS = [
    pytest.param(field, id=f"{table.__name__}.{field.name}")
    for table in TABLES
    for field in dataclasses.fields(table)
    if "meaning" in field.metadata
]


@pytest.mark.parametrize("field", KEYS)
def test_default_is_within_its_limits(field: Field[Any]) -> None:
    low, high, choices = (field.metadata[name] for name in ("low", "high", "choices"))
    assert choices is None or field.default in choices
    numbers = field.default if isinstance(field.default, tuple) else (field.default,)
    assert all(low is None or low <= number for number in numbers)
    assert all(high is None or number <= high for number in numbers)


@pytest.mark.parametrize("field", KEYS)
def test_meaning_is_one_plain_sentence(field: Field[Any]) -> None:
    meaning = field.metadata["meaning"]
    assert meaning and not meaning.endswith(".") and "  " not in meaning and "\n" not in meaning


def test_mutable_default_is_copied() -> None:
    default: list[str] = ["a"]
    field = config.key(default, "names")
    assert field.default_factory() == ["a"] and field.default_factory() is not default


def test_augmentation_is_off_whatever_the_copies() -> None:
    assert config.Augment(views=3).is_off
    assert not config.Augment(rotation=0.1).is_off


def test_slice_is_told_from_a_share() -> None:
    assert config.SplitPart("train", stop="90%").is_slice
    assert not config.SplitPart("train", 0.1).is_slice
