"""Find the photos of a recipe by a relative path: from the current folder, else from the recipe's own.

Recipes meant the current folder before, so it comes first. `tledge init` writes such a path where the
photos lie beside or below the recipe; then both can be moved, and used from any folder.
"""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from pathlib import Path

from tledge.data.sources.csv_tables import SPLIT
from tledge.recipe.definition import Recipe

PATHS = ("folder", "csv")
"""Sources whose `path` may be relative to the recipe."""


def found_from(recipe: Recipe, home: Path) -> Recipe:
    """Return a recipe that finds its photos, where they are only in `home`, the folder of the recipe."""
    path = _path(recipe)
    if not path or _exists(Path(path)) or not _exists(home / path):
        return recipe
    return _with_path(recipe, os.path.abspath(home / path))


def with_recorded(recipe: Recipe, source: object) -> Recipe:
    """Return the recipe of a run, with the source that its training recorded where its own finds nothing."""
    path = _path(recipe)
    name, _, recorded = source.partition(":") if isinstance(source, str) else ("", "", "")
    if not path or _exists(Path(path)) or name != _name(recipe) or not recorded:
        return recipe
    return _with_path(recipe, recorded)


def absolute(recipe: Recipe) -> str:
    """Return the source with an absolute path, as a run records it; other sources as they are."""
    path = _path(recipe)
    return f"{_name(recipe)}:{os.path.abspath(path)}" if path else recipe.data.source


def _name(recipe: Recipe) -> str:
    return recipe.data.source.partition(":")[0]


def _path(recipe: Recipe) -> str:
    """Return the path of the recipe's source where it is relative, else ""."""
    name, _, argument = recipe.data.source.partition(":")
    path = argument or str(recipe.data.options.get("path", ""))
    is_relative = name in PATHS and not path.startswith("~") and not os.path.isabs(path)
    return path if is_relative else ""


def _exists(path: Path) -> bool:
    """Tell whether something is there; a path with {split} stands for one table of each split."""
    text = str(path)
    if SPLIT not in text:
        return path.exists()
    return any(glob.iglob("*".join(map(glob.escape, text.split(SPLIT)))))


def _with_path(recipe: Recipe, path: str) -> Recipe:
    """Return the recipe with another path of its source, written as the recipe writes it."""
    data = recipe.data
    if ":" in data.source:
        return replace(recipe, data=replace(data, source=f"{_name(recipe)}:{path}"))
    return replace(recipe, data=replace(data, options={**data.options, "path": path}))
