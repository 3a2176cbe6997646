"""How many processors tledge may use at once."""

from __future__ import annotations

import os

import pytest

from tledge._process import processors
from tledge.errors import RecipeError


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(processors.VARIABLE, raising=False)


def test_the_system_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5, 6}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert processors.usable() == processors.available() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors.usable() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors.usable() == 1


def test_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5, 6}, raising=False)
    monkeypatch.setenv(processors.VARIABLE, "1")
    assert processors.usable() == 1 and processors.available() == 3
    monkeypatch.setenv(processors.VARIABLE, "")
    assert processors.usable() == 3


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²", " 1"])
def test_wrong_value_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(processors.VARIABLE, value)
    with pytest.raises(RecipeError, match=r"TLEDGE_PROCESSORS=.*whole number from 1"):
        processors.usable()
