"""The help of the command line: groups, lines that are not cut, and options that are recipe keys."""

import pytest

from tests.helpers.command_line import Cli
from tledge.cli.help import GROUPS, OTHER_NAMES, QUICK_START
from tledge.cli.main import tledge
from tledge.recipe import keys


def test_every_command_is_in_one_group() -> None:
    names = [name for lines in GROUPS.values() for name in lines]
    assert sorted(names) == sorted(tledge.commands)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_is_not_cut(cli: Cli, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = cli("--help").out
    assert max(map(len, text.splitlines())) <= width
    for lines in GROUPS.values():
        assert all(any(line.endswith(f"  {said}") for line in text.splitlines()) for said in lines.values())
    assert all(f"  {line}\n" in text for line in QUICK_START)
    assert "... " not in text and "...\n" not in text.partition("\n")[2]


@pytest.mark.parametrize(
    ("option", "place"),
    [("--epochs", "stage.0.epochs"), ("--batch-size", "stage.0.batch_size"),
     ("--lr", "stage.0.learning_rate"),
     ("--image-size", "model.image_size"), ("--imgsz", "model.image_size"), ("--seed", "recipe.seed"),
     ("--bias-correction", "export.int8.bias_correction")],
)  # fmt: skip
def test_option_that_is_a_recipe_key(cli: Cli, option: str, place: str) -> None:
    done = cli("train", "rps", option, "3")
    assert done.code == 2
    assert done.err.splitlines()[-1] == f"{place} is a key of the recipe. Type: --set {place}=VALUE"
    done = cli("export", "runs/rps", option, "3")
    assert done.code == 2 and f"`tledge train` takes it: --set {place}=VALUE" in done.err


def test_other_unknown_options_have_no_hint(cli: Cli) -> None:
    assert "key of the recipe" not in cli("train", "rps", "--fast").err
    assert "key of the recipe" not in cli("train", "rps", "--out").err


def test_names_of_other_tools_are_keys() -> None:
    known = {field.name for _, _, field in keys.setting_paths()}
    assert set(OTHER_NAMES.values()) <= known and not set(OTHER_NAMES) & known
