"""The generated reference and the code name the same things, both ways."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import generate
import pytest
import words

import tledge
from tests.helpers.paths import ROOT
from tests.helpers.reference_pages import unknown_files
from tledge import config, errors
from tledge._io import resources
from tledge.cli.main import tledge as group
from tledge.data.sources.registry import SOURCES
from tledge.devices.projects import TARGETS
from tledge.errors import RecipeError, TledgeError
from tledge.formats.registry import VARIANTS
from tledge.models.backbones import BACKBONES
from tledge.recipe import definition, loader
from tledge.run import folder, records

Named = dict[str, set[str]]
"""By heading of a page, the names that its table lists; "" for what stands above the first heading."""


def named(text: str) -> Named:
    """Headings in the style of code, and below each what the first column of its table names."""
    found: Named = {"": set()}
    heading = ""
    for line in re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S).splitlines():
        if title := re.fullmatch(r"## (.*)", line):
            heading = title[1].strip("`")
            found[heading] = set()
        elif line.startswith("| `"):
            names, *_value = re.split(r"(?<!\\)\|", line)[1].split("` `")
            found[heading] |= set(re.findall(r"`([^`]+)`", f"{names}`"))
    return found


def options(command: click.Command) -> set[str]:
    listed = [one for one in command.params if isinstance(one, click.Option)]
    return {name for one in listed for name in (*one.opts, *one.secondary_opts)}


def table_keys() -> Named:
    """By the title that a table's docstring begins with, its keys: not by `generate`'s own walk."""
    found: Named = {}
    for cls in vars(config).values():
        title = re.match(r"`(\[+[a-z0-9.]+\]+)`", getattr(cls, "__doc__", None) or "")
        if title and dataclasses.is_dataclass(cls):
            inner = {one.name for one in dataclasses.fields(cls) if dataclasses.is_dataclass(one.default)}
            names = {one.name for one in dataclasses.fields(cls)} - {"options"}
            found[title[1]] = names if cls is config.Splits else names - inner
    return {"": set(), **found}


def error_codes() -> set[str]:
    subclasses = [each for each in TledgeError.__subclasses__() if each.__module__ == errors.__name__]
    classes = [TledgeError, *subclasses]  # other tests may have made classes of their own
    return {str(one.exit_code) for one in classes} | {"0", "130", "143"}


def schema() -> dict[str, Any]:
    text = (resources.folder("export") / "manifest.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


EXPECTED: dict[str, Callable[[], Named]] = {
    "commands": lambda: {
        "": set(),
        **{f"tledge {name}": options(one) for name, one in group.commands.items()},
    },
    "recipe": table_keys,
    "variants": lambda: {"": set(VARIANTS)},
    "exit-codes": lambda: {"": error_codes(), "Errors": set()},
    "backbones": lambda: {"": set(BACKBONES)},
    "sources": lambda: {"": set(), **{name: set(one.module.OPTIONS) for name, one in SOURCES.items()}},
    "targets": lambda: {"": set(), **{name: set() for name in TARGETS}},
    "manifest": lambda: {
        "": set(schema()["properties"]),
        **{name: set(one["properties"]) for name, one in schema()["$defs"].items()},
    },
}
"""Page to what the code has: by heading, names."""


def differences(found: Named, wanted: Named) -> list[str]:
    """What only the code or only the page names."""
    lines = [f"no heading {name}" for name in wanted.keys() - found.keys()]
    lines += [f"heading {name} of nothing" for name in found.keys() - wanted.keys()]
    for heading in found.keys() & wanted.keys():
        lines += [f"{heading}: lacks {name}" for name in wanted[heading] - found[heading]]
        lines += [f"{heading}: no such {name}" for name in found[heading] - wanted[heading]]
    return sorted(lines)


@pytest.mark.parametrize("page", EXPECTED)
def test_page_and_code_name_the_same(page: str) -> None:
    assert differences(named(generate.PAGES[page]()), EXPECTED[page]()) == []


@pytest.mark.parametrize("page", sorted(set(EXPECTED) - {"targets"}))
def test_lost_and_invented_rows_are_caught(page: str) -> None:
    text = generate.PAGES[page]()
    rows = re.findall(r"^\| `.*\n", text, re.M)
    invented = "| `--invented` | nothing |\n"
    for row in (rows[0], rows[-1]):
        faults = differences(named(text.replace(row, invented)), EXPECTED[page]())
        assert len(faults) >= 2 and any("lacks" in one for one in faults)
        assert any("no such --invented" in one for one in faults)


@pytest.mark.parametrize("page", ["commands", "recipe", "sources", "targets", "manifest"])
def test_lost_heading_is_caught(page: str) -> None:
    text = generate.PAGES[page]()
    heading = re.findall(r"^## .*\n", text, re.M)[-1]
    assert any("no heading" in one for one in differences(named(text.replace(heading, "")), EXPECTED[page]()))
    faults = differences(named(text + "\n## `invented`\n"), EXPECTED[page]())
    assert faults == ["heading invented of nothing"]


def test_new_command_appears(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command("weigh", epilog="\b\nExample:\n  tledge weigh runs/rps")
    @click.option("--grams", metavar="N", default=3, show_default=True, help="How <many>.")
    def weigh(grams: int) -> None:
        """Weigh a run."""

    monkeypatch.setitem(group.commands, "weigh", weigh)
    page = generate.commands()
    assert "## `tledge weigh`" in page and "Weigh a run." in page
    assert "| `--grams` `N` | How \\<many>. Default: `3`. |" in page
    assert "Example:\n\n```sh\ntledge weigh runs/rps\n```" in page
    assert differences(named(page), EXPECTED["commands"]()) == []


def test_pages_are_those_of_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^reference/(\S+)$", index, re.M)) == set(generate.PAGES)
    assert set(generate.PAGES) == set(EXPECTED) | {"run-folder", "python"}


def rows_of(page: str) -> list[tuple[str, str, str]]:
    """Table title, key and default of every row of the recipe's reference."""
    title, found = "", []
    for line in page.splitlines():
        if line.startswith("## "):
            title = line[3:].strip("`")
        elif row := re.match(r"\| `(\w+)` \| [^|]* \| `([^`]*)` \|", line):
            found.append((title, row[1], row[2]))
    return found


MINIMAL = {
    "[data]": 'source = "drawn"',
    "[model]": 'backbone = "tiny"\nweights = "none"',
    "[[stage]]": 'name = "all"',
}

NEEDED = ("[data] source", "[model] backbone", "[model] weights", "[[stage]] name")
"""What a minimal recipe says itself, other than the default."""


def saying(title: str = "[data]", line: str = "") -> definition.Recipe:
    """A minimal recipe with one more line in one table."""
    parts = {**MINIMAL, title: f"{MINIMAL.get(title, '')}\n{line}"}
    return loader.parse("\n".join(f"{name}\n{text}" for name, text in parts.items()), "x.toml")


@pytest.mark.parametrize(
    "row", [row for row in rows_of(generate.recipe()) if f"{row[0]} {row[1]}" not in NEEDED], ids=" ".join
)
def test_key_stands_with_its_default(row: tuple[str, str, str]) -> None:
    """A recipe that says what the reference says is the default is the recipe that says nothing."""
    title, key, default = row
    assert saying(title, f"{key} = {default}") == saying()


def test_other_default_or_key_would_be_seen() -> None:
    assert ("[parity]", "max_drop", "0.01") in rows_of(generate.recipe())
    assert saying("[parity]", "max_drop = 0.02") != saying()
    with pytest.raises(RecipeError, match="max_dropp"):
        saying("[parity]", "max_dropp = 0.01")


def test_ranges_stand_beside_keys() -> None:
    page = generate.recipe()
    assert "| `image_size` | whole number, 16 to 2048 | `224` | side of the square input in pixels |" in page
    assert (
        '| `optimizer` | `sgd`, `rmsprop`, `adam`, `adamw`, `adamax` | `"adam"` | Keras optimizer |' in page
    )
    assert "| `views` | whole number, 0 or more | `0` |" in page
    assert '| `unfreeze` | text or whole number | `"none"` |' in page


def test_tree_of_errors_is_that_of_the_classes() -> None:
    """The page takes its words from the docstring, so that has to name every class with its code."""
    told = re.findall(r"(\w+) +exit (\d+)", errors.__doc__ or "")
    subclasses = [each for each in TledgeError.__subclasses__() if each.__module__ == errors.__name__]
    classes = [TledgeError, *subclasses]  # other tests may have made classes of their own
    assert sorted(told) == sorted((one.__name__, str(one.exit_code)) for one in classes)


def test_help_names_the_same_exit_codes() -> None:
    told = re.search(r"Exit codes:(.*)", " ".join((group.help or "").split()))
    assert told and set(re.findall(r"\d+", told[1])) == error_codes()


def test_run_folder_names_are_explained() -> None:
    values = vars(folder.RunFolder(Path("run"))).values()
    paths = [value for value in values if isinstance(value, Path) and value != Path("run")]
    assert len(paths) > 10 and unknown_files({path.parts[1] for path in paths}) == set()
    assert unknown_files({"run.json", "small-1.zip", "surprise.txt"}) == {"surprise.txt"}
    page = generate.run_folder()
    assert [name for name in folder.FILES if f"| `{name}` |" not in page] == []


def test_values_of_a_run_are_explained() -> None:
    found = named(generate.run_folder())
    assert found["run.json"] == {one.name for one in dataclasses.fields(records.TrainedRun)}
    assert found["parity.json: rows"] == {one.name for one in dataclasses.fields(records.ParityRow)}
    assert "Whether the verdict is about the file itself" in generate.run_folder()


def exported(monkeypatch: pytest.MonkeyPatch, **things: Any) -> str:
    monkeypatch.setattr(tledge, "__all__", list(things), raising=False)
    for name, thing in things.items():
        monkeypatch.setattr(tledge, name, thing, raising=False)
    return str(generate.python())


def test_page_without_exported_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tledge, "__all__", [])
    page = generate.python()
    assert page.startswith("# Python") and named(page) == {"": set()}


def test_exported_names_are_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: str, *, top: int = 3) -> records.Score:
        """Open a bundle of <name>.

        Raises RecipeError.
        """
        raise RecipeError(path * top)

    page = exported(monkeypatch, load=load, Score=records.Score, RunFolder=folder.RunFolder, __version__="1")
    assert {"tledge.load", "tledge.Score", "tledge.RunFolder", "tledge.__version__"} <= set(named(page))
    assert (
        "load(path: str, *, top: int = 3) -> records.Score" in page and "Open a bundle of \\<name>." in page
    )
    assert "| `accuracy` | `float` |" in page
    assert "### `RunFolder.read_run`" in page and "read_run(self) -> TrainedRun" in page


def test_all_that_is_exported_stands_there() -> None:
    headings = set(named(generate.python())) - {""}
    assert headings == {f"tledge.{name}" for name in getattr(tledge, "__all__", ())}


def test_words_are_no_markup() -> None:
    assert words.plain("a <b> *c* [d] `<e>*`") == "a \\<b> \\*c\\* \\[d\\] `<e>*`"
    assert words.table(("a",), [("x | y\nz",)]) == "| a |\n| --- |\n| x \\| y z |\n"


def test_indented_text_is_code() -> None:
    assert (
        words.prose("One.\n\n    Two:\n\n        two\n          three")
        == "One.\n\nTwo:\n\n```text\ntwo\n  three\n```"
    )
    assert words.prose(None) == ""


def test_notes_below_fields_are_found() -> None:
    assert words.notes(records.TrainedRun)["cache"].startswith("Folder of the preprocessed images")
    assert "names of columns" in words.notes(SOURCES["csv"].module)["OPTIONS"]


def test_written_pages_replace_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "PAGES", {"one": lambda: "# One\n"})
    (tmp_path / "gone.md").write_text("old")
    generate.write(tmp_path)
    stamp = (tmp_path / "one.md").stat().st_mtime_ns
    generate.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one.md"]
    assert (tmp_path / "one.md").stat().st_mtime_ns == stamp


def test_generated_pages_repeat() -> None:
    assert [made() for made in generate.PAGES.values()] == [made() for made in generate.PAGES.values()]


def test_sections_of_docstrings_are_lists() -> None:
    text = words.prose(
        "Do it.\n\nExample:\n    do(1)\n\nArgs:\n    path: A file,\n        or a folder.\n"
        "    top: How many.\n\nAttributes:\n    one: A field.\n\nReturns:\n    A number.\n\n"
        "Raises:\n    OSError: It is `gone`."
    )
    assert "**Example**\n\n```python\ndo(1)\n```" in text
    assert "**Args**\n\n- `path`: A file, or a folder.\n- `top`: How many." in text
    assert "A field" not in text
    assert words.attributes("It.\n\nAttributes:\n    one: A\n        field.") == {"one": "A field."}
    assert "**Returns**\n\nA number." in text and "**Raises**\n\n- `OSError`: It is `gone`." in text
