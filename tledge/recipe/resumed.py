"""Find what `train` is to train: a recipe, or the run that `--resume` continues, with its own values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tledge._io import files
from tledge.errors import RecipeError, RunError
from tledge.recipe import loader, lookup, toml_reader
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder

MOST_SHOWN = 4
"""Keys that a message names at most where a run was begun with other values."""


@dataclass(frozen=True)
class Asked:
    """What to train: the checked recipe, the text of its file, the `--set` overrides, the run folder."""

    recipe: Recipe
    text: str
    settings: tuple[str, ...]
    folder: Path


def find(
    name: str | None, settings: Sequence[str], out: Path | None, *, resume: bool, force: bool = False
) -> Asked:
    """Return what `train` was asked for.

    Args:
        name: A recipe by path or shipped name. With `resume` also the folder of a run that was begun, or
            None: then it is `out`, else the unfinished run in runs/ that was begun last.
        settings: The overrides, such as "stage.0.epochs=2".
        out: The run folder; runs/NAME by default.
        resume: Continue a run: what it was begun with holds, and `settings` may only repeat it.
        force: Replace the run, so that what it was begun with does not matter.

    Raises:
        RecipeError: There is no such recipe, it is not valid, or a folder is named where none can be.
        RunError: There is no run to continue, or it was begun with other values.
    """
    if name is None and not resume:
        raise RecipeError("train: name a RECIPE, or continue a run with --resume RUN.")
    if name is None or Path(name).is_dir():
        return _of_run(_run_named(name, out, resume=resume), settings)
    recipe, text = lookup.read_recipe(name, settings)
    folder = out or Path("runs") / recipe.meta.name
    if not resume or force or not _is_begun(folder):
        return Asked(recipe, text, tuple(settings), folder)
    begun = _of_run(folder, (), recipe.meta.name)
    asked = loader.parse(text, Path(name).name, [*begun.settings, *settings])
    _require_same(folder, begun.recipe, asked)
    return begun


def _run_named(name: str | None, out: Path | None, *, resume: bool) -> Path:
    """Return the folder of the run that is to be continued."""
    if name is None:
        return out or _unfinished_run(Path("runs"))
    if not resume:
        raise RecipeError(f"{name}: a folder. Give a recipe, or continue a run with --resume {name}.")
    folder = Path(name)
    if out and out.resolve() != folder.resolve():
        raise RecipeError(f"--out {out}: --resume {name} continues in {name}. Leave --out out.")
    return folder


def _unfinished_run(root: Path) -> Path:
    """Return the run below `root` that was begun last and has not finished."""
    begun = [path.parent for path in root.glob("*/environment.json") if _is_begun(path.parent)]
    unfinished = [folder for folder in begun if not RunFolder(folder).run.is_file()]
    if not unfinished:
        raise RunError(f"{root}: no unfinished run here. Name one: tledge train --resume RUN.")
    return max(unfinished, key=lambda folder: ((folder / "environment.json").stat().st_mtime_ns, folder))


def _is_begun(folder: Path) -> bool:
    run = RunFolder(folder)
    return run.environment.is_file() and run.recipe.is_file()


def _of_run(path: Path, settings: Sequence[str], name: str = "") -> Asked:
    """Return what a run was begun with; `settings` may only repeat it.

    The file of a recipe without a name gave the name. Earlier versions did not note it: then it is `name`,
    else that of the folder.
    """
    if not _is_begun(path):
        raise RunError(f"{path}: no run was begun here. Train into it: tledge train RECIPE --out {path}")
    folder = RunFolder(path)
    begun = files.read_json(folder.environment, "an unfinished run", "Start over with --force.")
    text, used = loader.text_of_run(folder), tuple(begun.get("settings", ()))
    recipe = loader.parse(text, folder.recipe.name, used)
    if settings:
        _require_same(path, recipe, loader.parse(text, folder.recipe.name, [*used, *settings]))
    if recipe.meta.name == folder.recipe.stem:
        name = begun.get("name") or name or path.name
        recipe = replace(recipe, meta=replace(recipe.meta, name=name))
    return Asked(recipe, text, used, path)


def _require_same(folder: Path, begun: Recipe, asked: Recipe) -> None:
    """Raise RunError, with key, old and new value, where a run was begun with another recipe."""
    found = list(_differences("", begun.as_tables(), asked.as_tables()))
    if not found:
        return
    shown = "; ".join(f"{key} = {_shown(old)}, now {_shown(new)}" for key, old, new in found[:MOST_SHOWN])
    more = f"; and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    raise RunError(
        f"{folder}: this run was begun with other values of the recipe or --set: {shown}{more}. "
        "Continue it without the change, or start over with --force."
    )


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield each key that differs, as `--set` takes it, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = {name: (old.get(name), new.get(name)) for name in {**old, **new}}
    elif _is_list_of_tables(old) and _is_list_of_tables(new) and len(old) == len(new):
        pairs = {str(place): pair for place, pair in enumerate(zip(old, new, strict=True))}
    else:
        if old != new:
            yield path, old, new
        return
    for name, (first, second) in pairs.items():
        is_own = name != "options"  # a source's options are keys of [data]
        yield from _differences(f"{path}.{name}".strip(".") if is_own else path, first, second)


def _shown(value: Any) -> str:
    return "not set" if value is None else toml_reader.cut(json.dumps(value, ensure_ascii=False))


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(entry, dict) for entry in value)
