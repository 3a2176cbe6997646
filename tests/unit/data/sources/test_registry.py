"""Every source: its argument and its options."""

from __future__ import annotations

import pytest

from tests.helpers.sources import prepared
from tledge.data.sources.registry import SOURCES
from tledge.errors import MissingError, RecipeError


def test_every_source_has_its_argument() -> None:
    for name, entry in SOURCES.items():
        assert not entry.argument or entry.module.OPTIONS[entry.argument] == "", name
        assert entry.summary


@pytest.mark.parametrize("name", ["csv", "tfrecord"])
def test_source_without_argument_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"source '{name}' needs its"):
        prepared(name)


@pytest.mark.parametrize(
    "source", ["csv:~nobody-9/a.csv", "tfrecord:~nobody-9/*", "folder:~nobody-9/a", "csv:a\0b"]
)
def test_home_that_nobody_knows_is_missing(source: str) -> None:
    with pytest.raises(MissingError, match=r"no such|no file"):
        prepared(source)


def test_wrong_type_of_option_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"\[data\] labels: expected a value like \[\], got 'ant'"):
        prepared("tfrecord:*.tfrec", labels="ant")
