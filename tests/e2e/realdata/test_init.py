"""A folder of real photos gives a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tledge.recipe import loader
from tledge.recipe.init import recipe_text
from tledge.recipe.init_folder import default_name, look


@pytest.mark.parametrize("name", ["flowers", "beans", "rps_originals"])
def test_real_folder_gives_recipe(real_data: Path, name: str) -> None:
    root = real_data / "photos" / name
    if not root.is_dir():
        pytest.skip(f"no {root}")
    folder = look(root)
    made = loader.parse(recipe_text(folder, default_name(root)), f"{name}.toml")
    assert made.meta.name == name
    assert folder.unreadable == ()
