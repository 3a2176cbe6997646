"""Make the reference from the code: a page says of a name what the code says of it.

`write` puts a page for each function in `PAGES` into a folder; Sphinx (`conf.py`) calls it before it
builds. The pages are not kept in the repository, so they cannot become outdated.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from recipe_page import recipe
from words import attributes, code, fenced, notes, page, plain, prose, table

import tledge
from tledge import errors
from tledge._io import files, resources
from tledge.cli import main
from tledge.data.sources.registry import SOURCES
from tledge.devices.projects import TARGETS
from tledge.formats.registry import VARIANTS
from tledge.models.backbones import BACKBONES
from tledge.run import folder as folder_module
from tledge.run import records

# The command line


def commands() -> str:
    """Describe every command with its help, arguments, options and example, from click."""
    group = click.Context(main.tledge, info_name="tledge")
    parts = ["# Commands", prose(main.tledge.help)]
    parts.append(
        "Results go to stdout, progress to stderr; `--json` prints one object. `NO_COLOR` is respected."
    )
    for name, command in main.tledge.commands.items():
        parts += [f"## `tledge {name}`", *_command(click.Context(command, group, name), command)]
    return page(parts)


def _command(context: click.Context, command: click.Command) -> Iterator[str]:
    yield fenced(command.get_usage(context).removeprefix("Usage: "))
    yield prose((command.help or "").replace("\b\n", ""))
    options = [option for option in command.params if isinstance(option, click.Option)]
    yield table(("option", "does"), [_option(context, option) for option in options])
    example = inspect.cleandoc((command.epilog or "").replace("\b", "")).removeprefix("Example:\n")
    yield "Example:"
    yield fenced(inspect.cleandoc(example), "sh")


def _option(context: click.Context, option: click.Option) -> tuple[str, str]:
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    default = f" Default: `{option.default}`." if option.show_default else ""
    return f"{names}{value}", plain(option.help or "") + default


# Names


def variants() -> str:
    """Describe every variant: its mode, and the gate that applies."""
    rows = [
        (
            code(name), plain(variant.mode.summary), code(variant.mode.weights), code(variant.mode.input),
            str(variant.mode.batch or "any"), "yes" if variant.mode.calibrated else "no",
            code(variant.mode.gate),
        )
        for name, variant in VARIANTS.items()
    ]  # fmt: skip
    return page([
        "# Variants\n\nA variant is a format and a number type. The same name stands in the recipe "
        "(`[export] variants`), on the command line (`--variant NAME`), in the file's name and in every "
        "report. `gate` says which limits of `[parity]` apply; what they are is in [the recipe](recipe.md).",
        table(("variant", "is", "weights", "input", "batch", "calibrated", "gate"), rows),
    ])  # fmt: skip


def exit_codes() -> str:
    """Describe every exit code, from the tree of errors and the command line."""
    rows = [(code(number), plain("; ".join(meanings))) for number, meanings in exit_meanings().items()]
    tree = (errors.__doc__ or "").split("\n\n")[1]
    return page([
        "# Exit codes",
        table(("code", "when"), rows),
        "`tledge compare` ends with 3 where B cannot replace A, and with 6 where there are too few images to "
        "tell.",
        "Code 6 is apart from 3, since more photos settle it and nothing else does; it is not 0, so that a "
        "script ships a provisional artifact only where it was told to.",
        "## Errors",
        "Messages say what is wrong, where, what was expected and what to do. In Python each is a class of "
        "`tledge.errors`:",
        fenced(inspect.cleandoc(tree)),
    ])  # fmt: skip


def exit_meanings() -> dict[int, list[str]]:
    """Return the meaning of each exit code, in the words of the tree in `tledge/errors.py`."""
    meanings: dict[int, list[str]] = {0: ["done"]}
    for number, meaning in re.findall(r"^.*\w+ +exit (\d+) +(.*)$", errors.__doc__ or "", re.M):
        meanings.setdefault(int(number), []).append(meaning)
    kept = "; what was finished is kept"
    meanings[128 + signal.SIGINT] = [f"interrupted{kept}"]
    meanings[128 + signal.SIGTERM] = [f"asked to end by SIGTERM, as schedulers do{kept}"]
    return dict(sorted(meanings.items()))


def backbones() -> str:
    """Describe every backbone."""
    rows = [
        (
            code(name), plain(backbone.summary), str(backbone.default_size), str(backbone.min_size),
            ", ".join(f"{alpha:g}" for alpha in backbone.alphas)
            or ("any, no weights" if backbone.takes_alpha else ""),
        )
        for name, backbone in BACKBONES.items()
    ]  # fmt: skip
    return page([
        "# Backbones\n\n`[model] backbone` of a recipe. `alpha` lists the width multipliers that have "
        "ImageNet weights. The pixel scaling of a backbone is inside the model, which takes RGB "
        "bytes in any case.",
        table(("name", "is", "made for, px", "smallest, px", "alpha"), rows),
    ])  # fmt: skip


def sources() -> str:
    """Describe every data source with its options."""
    parts = [
        "# Data sources\n\n`[data] source` of a recipe: a name, and behind a colon the option that is named "
        "below. Further options are keys of `[data]`."
    ]
    for name, source in SOURCES.items():
        written = f"{name}:{source.argument.upper()}" if source.argument else name
        rows = [(code(key), code(json.dumps(value))) for key, value in source.module.OPTIONS.items()]
        parts += [
            f"## `{name}`",
            f'{plain(source.summary[:1].upper() + source.summary[1:])}: `source = "{written}"`.',
        ]
        parts += [table(("option", "default"), rows), prose(notes(source.module).get("OPTIONS"))]
    return page(parts)


def targets() -> str:
    """Describe every device project."""
    parts = [
        "# Targets\n\n`tledge bundle --target NAME` fills a device project with a bundle. Each needs no "
        "tledge and has a self-test."
    ]
    for name, target in TARGETS.items():
        parts += [f"## `{name}`", plain(target.summary) + ".", fenced(target.self_test, "sh")]
        parts.append(f"Usable variants, best first: {', '.join(map(code, target.variants))}.")
    return page(parts)


# Files


def run_folder() -> str:
    """Describe the files of a run folder, and the values of its JSON files."""
    parts = [
        "# The run folder",
        "A killed command never leaves a half-written file under its final name. The same command again "
        "completes what it left, `tledge train` with `--resume`; it also removes what lies there under "
        "temporary names, which begin with a dot and have `.tledge-` in them.",
        "One command at a time writes into a run: a second one is refused, and names the owner of the lock. "
        "Commands that only read, and photos that `tledge preview` keeps, do not wait.",
        table(
            ("file", "holds"), [(code(name), plain(meaning)) for name, meaning in folder_module.FILES.items()]
        ),
    ]
    for name, cls in RUN_VALUES.items():
        parts += [f"## `{name}`", prose(cls.__doc__), _fields(cls)]
    return page(parts)


RUN_VALUES: dict[str, type] = {
    "run.json": records.TrainedRun,
    "run.json: validation, test, frozen": records.Score,
    "artifacts/<variant>.json": records.Artifact,
    "parity.json": records.ParityReport,
    "parity.json: reference": records.Reference,
    "parity.json: rows": records.ParityRow,
}
"""JSON files of a run, and the values in them."""


def _fields(cls: type) -> str:
    meanings = {**attributes(cls.__doc__), **notes(cls)}
    rows = [
        (code(field.name), code(field.type), plain(meanings.get(field.name, "")))
        for field in dataclasses.fields(cls)
    ]
    return table(("field", "type", "meaning"), rows)


def manifest() -> str:
    """Describe `manifest.json` of a bundle, from its JSON Schema."""
    schema = json.loads((resources.folder("export") / "manifest.schema.json").read_text(encoding="utf-8"))
    parts = ["# `manifest.json`", plain(schema["description"]), _properties(schema)]
    for name, part in schema["$defs"].items():
        parts += [f"## {name}", plain(part["description"]), _properties(part)]
    return page(parts)


def _properties(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            code(name),
            _schema_kind(part),
            "yes" if name in required else "no",
            plain(part.get("description", "")),
        )
        for name, part in schema["properties"].items()
    ]
    return table(("field", "value", "always there", "meaning"), rows)


def _schema_kind(part: dict[str, Any]) -> str:
    if "const" in part:
        return code(json.dumps(part["const"]))
    if "enum" in part:
        return ", ".join(code(json.dumps(option)) for option in part["enum"])
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name})"
    if "anyOf" in part:
        return " or ".join(_schema_kind(option) for option in part["anyOf"])
    if part["type"] == "array":
        return f"list: {_schema_kind(part['items'])}"
    kind = part["type"]
    return code(kind if isinstance(kind, str) else " or ".join(kind))


# Python


def python() -> str:
    """Describe what `tledge.__all__` exports, with signatures and docstrings."""
    parts = ["# Python", prose(tledge.__doc__)]
    names = exported()
    if not names:
        parts.append("`tledge` exports no names yet: the command line is its interface.")
    for name in names:
        parts += [f"## `tledge.{name}`", *_thing(name, getattr(tledge, name))]
    return page(parts)


def exported() -> list[str]:
    """Return the names that `import tledge` promises."""
    return list(getattr(tledge, "__all__", ()))


def _thing(name: str, thing: Any) -> Iterator[str]:
    if not callable(thing):
        yield code(repr(thing)) if isinstance(thing, (str, int, float)) else prose(thing.__doc__)
        return
    yield fenced(f"{name}{_signature(thing)}", "python")
    yield prose(thing.__doc__)
    if dataclasses.is_dataclass(thing) and isinstance(thing, type):
        yield _fields(thing)
    members = vars(thing).items() if isinstance(thing, type) else ()
    for member, found in members:
        if not member.startswith("_") and (inspect.isfunction(found) or isinstance(found, property)):
            yield f"### `{name}.{member}`"
            yield fenced(f"{member}{_signature(found)}", "python") if inspect.isfunction(found) else ""
            yield prose(found.__doc__)


def _signature(thing: Any) -> str:
    try:
        return str(inspect.signature(thing)).replace("'", "")
    except (TypeError, ValueError):  # exceptions and other builtins
        return "(...)"


# All of them

PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "recipe": recipe,
    "variants": variants,
    "exit-codes": exit_codes,
    "backbones": backbones,
    "sources": sources,
    "targets": targets,
    "run-folder": run_folder,
    "manifest": manifest,
    "python": python,
}
"""Name of the page's file to what makes its text."""


def write(folder: Path) -> None:
    """Write every page into `folder`; leave unchanged pages alone, so that Sphinx builds less."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in PAGES}:
        path.unlink()
    for name, make_text in PAGES.items():
        path, text = folder / f"{name}.md", make_text()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            files.write_text(path, text)
