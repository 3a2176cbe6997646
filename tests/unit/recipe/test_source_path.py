"""A relative path of photos: from the current folder as ever, else from the folder of the recipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.recipes import BARE
from tledge.recipe import loader, source_path
from tledge.recipe.definition import Recipe


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a recipe, beside the current one."""
    for name in ("home/photos", "here"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def recipe(data: str) -> Recipe:
    return loader.parse(BARE.replace('source = "drawn"', data), "own.toml")


def test_current_folder_comes_first(home: Path) -> None:
    """So a recipe of before means the same photos."""
    Path("photos").mkdir()
    old = recipe('source = "folder:photos"')
    assert source_path.found_from(old, home) is old
    Path("photos").rmdir()
    assert source_path.found_from(old, home).data.source == f"folder:{home / 'photos'}"


@pytest.mark.parametrize(
    "data",
    [
        'source = "folder:nowhere"', 'source = "drawn"', 'source = "folder:/photos"', 
'source = "folder:~/p"',
        'source = "tfds:photos"',
    ],
)  # fmt: skip
def test_other_sources_stay(home: Path, data: str) -> None:
    assert source_path.found_from(recipe(data), home).data == recipe(data).data


def test_path_option_and_tables_are_found(home: Path) -> None:
    found = source_path.found_from(recipe('source = "folder"\npath = "photos"'), home)
    assert found.data.options["path"] == str(home / "photos") and found.data.source == "folder"
    (home / "train[1].csv").touch()
    table = recipe('source = "csv:{split}[1].csv"')
    assert source_path.found_from(table, home).data.source == f"csv:{home / '{split}[1].csv'}"


def test_recipe_file_is_where_paths_begin(home: Path) -> None:
    (home / "own.toml").write_text(BARE.replace('source = "drawn"', 'source = "folder:photos"'))
    assert loader.load(home / "own.toml").data.source == f"folder:{home / 'photos'}"


def test_run_finds_what_it_was_trained_on(home: Path) -> None:
    made = recipe('source = "folder:photos"')
    os.chdir(home)
    recorded = source_path.absolute(made)
    assert source_path.with_recorded(made, recorded) is made
    os.chdir(home.parent / "here")
    assert source_path.with_recorded(made, recorded).data.source == f"folder:{home / 'photos'}"
    assert source_path.with_recorded(made, "").data == made.data
    assert source_path.with_recorded(made, "csv:/elsewhere").data == made.data
