"""A recipe that a person names is read once: what is trained is what the run folder keeps."""

from pathlib import Path

import pytest

from tledge.recipe import loader, lookup, toml_reader

RECIPE = """\
[recipe]
description = "read once"
[data]
source = "drawn"
[model]
backbone = "tiny"
weights = "none"
image_size = 48
[[stage]]
name = "head"
epochs = {epochs}
"""


def test_a_recipe_that_changes_while_it_is_read_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "changing.toml"
    path.write_text(RECIPE.format(epochs=1), encoding="utf-8")
    read_text = toml_reader.read_text

    def read_and_change(path: Path) -> str:
        text = read_text(path)
        path.write_text(RECIPE.format(epochs=2), encoding="utf-8")
        return text

    monkeypatch.setattr(toml_reader, "read_text", read_and_change)
    recipe, text = lookup.read_recipe(str(path), ())
    assert loader.parse(text, path.name) == recipe
    assert recipe.stage[0].epochs == 1
