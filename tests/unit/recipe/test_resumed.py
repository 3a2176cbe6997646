"""What `train --resume` continues: the run's own recipe and --set; what contradicts them is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tledge._io import files
from tledge.errors import RecipeError, RunError
from tledge.recipe import lookup, resumed
from tledge.run.folder import RunFolder

RECIPE = """\
# learn shapes
[data]
source = "drawn"
[model]
backbone = "tiny"
weights = "none"
image_size = 48
[[stage]]
epochs = 3
"""
BEGUN = ("stage.0.epochs=2", "model.image_size=64")


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that `tledge train shapes.toml --set ...` began in runs/shapes."""
    monkeypatch.chdir(tmp_path)
    Path("shapes.toml").write_text(RECIPE, encoding="utf-8")
    return begin(Path("runs/shapes"))


def begin(path: Path) -> RunFolder:
    folder = RunFolder(path)
    files.write_json(folder.environment, {"settings": list(BEGUN), "name": "shapes"})
    files.write_text(folder.recipe, RECIPE)
    return folder


@pytest.mark.parametrize("name", ["runs/shapes", "shapes.toml", "./shapes.toml", None])
@pytest.mark.parametrize("settings", [(), BEGUN, ("model.image_size = 64",)])
def test_resume_needs_no_settings(begun: RunFolder, name: str | None, settings: tuple[str, ...]) -> None:
    asked = resumed.find(name, settings, None, resume=True)
    assert (asked.folder, asked.settings, asked.text) == (begun.path, BEGUN, RECIPE)
    assert asked.recipe == lookup.read_recipe("shapes.toml", BEGUN)[0] and asked.recipe.meta.name == "shapes"


@pytest.mark.parametrize("name", ["runs/shapes", "shapes.toml", None])
def test_contradicting_setting_is_named(begun: RunFolder, name: str | None) -> None:
    with pytest.raises(RunError, match=r"stage\.0\.epochs = 2, now 5\. .*--force") as raised:
        resumed.find(name, ("stage.0.epochs=5",), None, resume=True)
    assert str(raised.value).startswith(f"{begun.path}: ") and "image_size" not in str(raised.value)


def test_changed_recipe_is_named_and_a_changed_comment_is_not(begun: RunFolder) -> None:
    Path("shapes.toml").write_text(RECIPE.replace("shapes", "all shapes"))
    assert resumed.find("shapes.toml", (), None, resume=True).text == RECIPE
    Path("shapes.toml").write_text(RECIPE.replace('"drawn"', '"drawn"\ntrain = 90'))
    with pytest.raises(RunError, match=r"--set: data\.train = not set, now 90\."):
        resumed.find("shapes.toml", (), None, resume=True)
    forced = resumed.find("shapes.toml", (), None, resume=True, force=True)
    assert forced.settings == () and forced.recipe.data.options == {"train": 90}
    assert begun.environment.is_file()


def test_newest_unfinished_run_is_continued(begun: RunFolder) -> None:
    other, finished = begin(Path("runs/other")), begin(Path("runs/finished"))
    finished.run.write_text("{}")
    os.utime(begun.environment, (1, 1))
    assert resumed.find(None, (), None, resume=True).folder == other.path
    assert resumed.find(None, (), begun.path, resume=True).folder == begun.path


def test_run_begun_by_an_earlier_version_keeps_its_name(begun: RunFolder) -> None:
    files.write_json(begun.environment, {"settings": []})
    os.rename("runs/shapes", "runs/try")
    by_folder = resumed.find("runs/try", (), None, resume=True)
    by_recipe = resumed.find("shapes.toml", (), Path("runs/try"), resume=True)
    assert (by_folder.recipe.meta.name, by_recipe.recipe.meta.name) == ("try", "shapes")


@pytest.mark.parametrize(
    ("name", "out", "resume", "error", "words"),
    [
        (None, None, False, RecipeError, "name a RECIPE"),
        ("runs/shapes", None, False, RecipeError, "continue a run with --resume runs/shapes"),
        ("runs/shapes", "runs/other", True, RecipeError, "Leave --out out"),
        ("runs", None, True, RunError, "no run was begun here"),
        (None, "runs/none", True, RunError, "no run was begun here"),
    ],
)
@pytest.mark.usefixtures("begun")
def test_what_cannot_be_continued_says_what_to_type(
    name: str | None, out: str | None, resume: bool, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        resumed.find(name, (), Path(out) if out else None, resume=resume)


def test_new_run_takes_what_is_asked_for(begun: RunFolder) -> None:
    asked = resumed.find("shapes.toml", ("stage.0.epochs=9",), Path("runs/new"), resume=True)
    assert asked.settings == ("stage.0.epochs=9",) and asked.folder == Path("runs/new")
    assert resumed.find("shapes.toml", (), None, resume=False).settings == ()
    assert begun.path == Path("runs/shapes")
