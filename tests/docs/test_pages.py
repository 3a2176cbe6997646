"""README and the pages of docs/ say what the tool does: names, keys, codes, and code that holds."""

from __future__ import annotations

import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path

import click
import generate
import pages
import pytest

from tests.helpers.paths import ROOT
from tests.helpers.recipes import BARE
from tledge._io import resources
from tledge.cli.main import tledge
from tledge.errors import RecipeError
from tledge.formats.registry import VARIANTS
from tledge.recipe import keys, loader

README = (ROOT / "README.md").read_text(encoding="utf-8")
WRITTEN = sorted(
    [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "reference")]
)
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in WRITTEN}
"""Every page that somebody wrote, by name."""


def every_page(*but: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [name for name in TEXTS if name not in but])


# Commands


def command_fault(line: str) -> str:
    """What is wrong with a command line of tledge: command, arguments or a recipe key; "" if nothing."""
    arguments = shlex.split(line, comments=True)
    name, *rest = arguments[arguments.index("tledge") + 1 :] or ["--help"]
    if name in ("--help", "--version"):
        return ""
    if name not in tledge.commands:
        return f"{line}: no such command"
    try:
        if rest:
            tledge.commands[name].make_context(name, list(rest))
        for key, value in pairwise(rest):
            if key == "--set":
                loader.parse(LONGEST, "docs.toml", [value])
    except (click.UsageError, RecipeError) as error:
        return f"{line}: {error}"
    return ""


LONGEST = (ROOT / "recipes" / "rps.toml").read_text(encoding="utf-8")
"""A recipe with two stages, whose keys may be overridden."""


def command_lines(text: str) -> list[str]:
    """Command lines of tledge in blocks and between backticks."""
    blocks = (line for block in pages.blocks_of(text, "") for line in block.commands)
    words = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    inline = (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", words))
    return [line for line in (*blocks, *inline) if re.match(r"([A-Z_]+=\S+ )*tledge( |$)", line)]


@every_page()
def test_commands_on_the_page_are_right(page: str) -> None:
    assert [fault for fault in map(command_fault, command_lines(TEXTS[page])) if fault] == []


def test_wrong_commands_are_caught() -> None:
    text = (
        "`tledge weigh`\n\n```sh\nA=1 tledge train rps --fast\ntledge train rps --set stage.0.epoch=2\n```\n"
    )
    faults = [command_fault(line) for line in command_lines(f"{text}`tledge bench --threads`")]
    assert ["no such command" in one for one in faults].count(True) == 1
    assert any("--fast" in one for one in faults) and any("'epoch'" in one for one in faults)
    assert len(faults) == 4 and all(faults)
    assert command_fault("tledge train rps --set stage.0.epochs=2  # shorter") == ""


@pytest.mark.parametrize("command", sorted(tledge.commands))
def test_command_is_documented(command: str) -> None:
    assert f"## `tledge {command}`" in generate.commands()
    assert "Example:" in str(tledge.commands[command].epilog)
    (example,) = re.findall(r"^ *(tledge .*)$", str(tledge.commands[command].epilog), re.M)
    assert command_fault(example) == ""


def test_readme_names_no_other_command() -> None:
    named = set(re.findall(r"`tledge ([a-z]+)", README)) | {
        line.split()[1] for line in command_lines(README) if line != "tledge"
    }
    assert len(named) > 8 and named <= set(tledge.commands)


ELSEWHERE = {"--camera", "--self-test", "--help", "--logdir"}
"""Options of the programs of device projects, click's own, and TensorBoard's."""


@every_page()
def test_options_on_the_page_exist(page: str) -> None:
    known = {name for command in tledge.commands.values() for one in command.params for name in one.opts}
    words = re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.M | re.S)
    named = {
        name
        for code in re.findall(r"`([^`]+)`", words)
        for name in re.findall(r"(?:^| )(--[a-z0-9-]+)", code)
    }
    assert named - known - ELSEWHERE == set()


# Recipes


def recipe_fault(text: str) -> str:
    """What is wrong with a recipe or a part of one; "" if nothing."""
    try:
        loader.parse(text if "[data]" in text else BARE + text, "docs.toml")
    except RecipeError as error:
        return str(error)
    return ""


@every_page()
def test_recipes_on_the_page_are_valid(page: str) -> None:
    found = [block for block in pages.blocks_of(TEXTS[page], page) if block.language == "toml"]
    assert [f"{block}: {fault}" for block in found if (fault := recipe_fault(block.text))] == []


def test_wrong_recipes_are_caught() -> None:
    assert "max_arena" in recipe_fault("[parity]\nmax_arena = 256\n")
    assert recipe_fault("[parity]\nmax_arena_kib = 256\n") == ""
    assert "[model] is missing" in recipe_fault('[data]\nsource = "drawn"\n')


def unknown_keys(text: str) -> list[str]:
    """Recipe keys named as `[table] key` that are none."""
    known = {title: {field.name for field in keys.keys(cls)} for title, cls in keys.tables()}
    named = re.findall(r"`(\[+[a-z0-9.]+\]+)(?: ([a-z0-9_]+))?(?: =[^`]*)?`", text)
    return [
        f"{title} {key}" for title, key in named if title not in known or (key and key not in known[title])
    ]


@every_page()
def test_keys_on_the_page_exist(page: str) -> None:
    assert unknown_keys(TEXTS[page]) == []


def test_unknown_keys_are_caught() -> None:
    text = "`[parity] int8_agreement = 0.9`, `[party]`, `[export.int8] repairs = true`, `[[stage]]`"
    assert unknown_keys(text) == ["[party] ", "[export.int8] repairs"]


@pytest.mark.parametrize("name", sorted(resources.recipes()))
def test_recipe_stands_on_its_page(name: str) -> None:
    assert f"[`{name}`](../recipes/{name}.toml)" in TEXTS["docs/recipes.md"]
    assert loader.load(resources.recipes()[name]).meta.name == name


def test_recipe_page_names_no_other() -> None:
    named = set(re.findall(r"\(\.\./recipes/(\w+)\.toml\)", TEXTS["docs/recipes.md"]))
    assert named == set(resources.recipes())


def test_recipe_on_its_page_is_a_whole_one() -> None:
    (snippet,) = re.findall(r"```toml\n(.*?)```", TEXTS["docs/recipes.md"], re.S)
    made = loader.parse(snippet, "docs.toml")
    assert tomllib.loads(snippet)["recipe"]["name"] == made.meta.name
    assert [stage.unfreeze for stage in made.stage] == ["none", "block_13_expand"]


# Names and files


@every_page()
def test_exit_codes_on_the_page_exist(page: str) -> None:
    named = re.findall(r"[Ee]xit code (\d+)", TEXTS[page])
    assert {int(code) for code in named} <= set(generate.exit_meanings())


@every_page()
def test_variants_on_the_page_exist(page: str) -> None:
    named = set(re.findall(r"`((?:tflite|onnx)-[a-z0-9]+)`", TEXTS[page]))
    assert named <= set(VARIANTS)


def test_every_variant_is_known_in_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [name for name in VARIANTS if f"`{name}`" not in changelog] == []


@every_page()
def test_linked_files_exist(page: str) -> None:
    """What a reader on the repository's own pages clicks; pages of the reference are made with the site."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXTS[page])
    paths = [Path(page).parent / link for link in links]
    made = [path for path in paths if path.parent.name == "reference"]
    assert {path.stem for path in made} <= set(generate.PAGES)
    assert [str(path) for path in paths if path not in made and not (ROOT / path).exists()] == []


@every_page()
def test_tests_on_the_page_exist(page: str) -> None:
    """What a page points to as proof is there."""
    named = re.findall(r"`((?:tests|tledge|benchmarks|tools|export)/[\w/.]+)`", TEXTS[page])
    assert [name for name in named if not (ROOT / name).exists()] == []


@every_page()
def test_code_is_fenced(page: str) -> None:
    """Tests read fenced blocks; an indented one would go unread."""
    assert pages.indented(TEXTS[page]) == []


def test_indented_code_is_caught() -> None:
    assert pages.indented("Type:\n\n    make demo\n    make test\n") == ["    make demo"]
    assert pages.indented("```sh\n\n    make demo\n```\n- one\n  two\n") == []


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120
    assert next(block.commands for block in pages.blocks_of(README, "")) == ["make demo", "make test"]


def test_pins_carry_no_address() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in pins if not line.startswith("#")]
    assert len(lines) > 50
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+]+", line)] == []
