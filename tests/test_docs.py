"""The README says what the tool does: commands, recipes, exit codes and its own snippet."""

import re
import tomllib

import pytest
from conftest import ROOT

from tledge import recipe, shipped
from tledge.cli import tledge
from tledge.formats import VARIANTS

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(tledge.commands))
def test_command_stands_in_readme(command: str) -> None:
    assert f"`tledge {command}" in README
    assert "Example:" in str(tledge.commands[command].epilog)


def test_readme_names_no_other_command() -> None:
    named = set(re.findall(r"`?tledge ([a-z]+)", README))
    words = {"fine", "notices", "drew"}
    assert named - words <= set(tledge.commands)


@pytest.mark.parametrize("name", sorted(shipped.recipes()))
def test_recipe_stands_in_readme(name: str) -> None:
    assert f"[`{name}`](recipes/{name}.toml)" in README
    assert recipe.load(shipped.recipes()[name]).recipe.name == name


def test_readme_recipe_is_valid() -> None:
    (snippet,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    made = recipe.parse(snippet, "readme.toml")
    assert tomllib.loads(snippet)["recipe"]["name"] == made.recipe.name
    assert [stage.unfreeze for stage in made.stage] == ["none", "block_13_expand"]


def test_every_variant_is_known_in_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [name for name in VARIANTS if f"`{name}`" not in changelog] == []


def test_pins_carry_no_address() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in pins if not line.startswith("#")]
    assert len(lines) > 50
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+]+", line)] == []
