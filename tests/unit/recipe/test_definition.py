"""The checked recipe: its tables have the names that a recipe file uses."""

from __future__ import annotations

import tomllib

from tests.helpers.paths import ROOT
from tledge.recipe import loader

RECIPE = ROOT / "recipes" / "quickstart.toml"


def test_tables_are_named_as_in_a_file() -> None:
    recipe = loader.load(RECIPE)
    tables = recipe.as_tables()
    assert tables.keys() >= tomllib.loads(RECIPE.read_text(encoding="utf-8")).keys()
    assert "meta" not in tables
    assert tables["recipe"]["name"] == recipe.meta.name


def test_drawn_photos_are_synthetic() -> None:
    assert loader.load(RECIPE).synthetic
    assert not loader.load(ROOT / "recipes" / "rps.toml").synthetic
