"""Every recipe key described: as `--set` takes it, with default and accepted values."""

import json

from tests.helpers.recipe_texts import SMALL
from tledge.recipe import keys
from tledge.recipe.loader import parse


def test_every_path_can_be_set_to_its_default() -> None:
    """A source and splits need a value of their own, `tiny` no weights; others take back what is listed."""
    for path, _, field in keys.setting_paths():
        if path not in ("data.source", "model.weights") and not path.startswith("data.splits"):
            parse(SMALL, "x.toml", [f"{path}={keys.default(field)}"])


def test_accepted_values() -> None:
    said = {path: keys.accepted_values(table, field) for path, table, field in keys.setting_paths()}
    assert said["recipe.seed"] == "whole number, 0 to 2147483647"
    assert said["model.loss"] == "categorical, binary"
    assert said["model.head"].startswith("list: whole number")
    assert said["data.cache"] == "true or false"
    assert said["data.splits.test"] == "a split"


def test_defaults_are_toml() -> None:
    defaults = {path: keys.default(field) for path, _, field in keys.setting_paths()}
    assert json.loads(defaults["model.image_size"]) == 224
    assert defaults["data.splits.validation"] == '{ from = "train", fraction = 0.15 }'
