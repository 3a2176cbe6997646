"""Find what a user names: a recipe by path or shipped name, a run by folder, the gates of a comparison.

Imports are inside the functions, because the command line imports this module to start.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.errors import RecipeError

if TYPE_CHECKING:
    from tledge.config import Parity
    from tledge.recipe.definition import Recipe
    from tledge.run.folder import RunFolder


def read_recipe(name: str, settings: Sequence[str]) -> tuple[Recipe, str]:
    """Read a recipe by path or shipped name; return it with the text of its file, which is read once.

    Raises:
        RecipeError: There is no such recipe, or it is not valid.
    """
    from tledge._io import resources
    from tledge.recipe import loader, source_path, toml_reader

    path = resources.find_recipe(name)
    text = toml_reader.read_text(path)
    recipe = loader.parse(text, path.name, settings)
    return source_path.found_from(recipe, path.parent), text


def open_finished_run(path: Path | None) -> tuple[RunFolder, Recipe]:
    """Open a finished run (the newest in runs/ without a path); return it with its recipe.

    Raises:
        RecipeError: There is no such folder.
        RunError: It holds no run, or one that is not finished; or runs/ has none.
    """
    from tledge.recipe import loader
    from tledge.run import folder as run_folder

    folder = run_folder.newest_run(Path("runs")) if path is None else run_folder.RunFolder(path)
    if not folder.path.is_dir():
        raise RecipeError(f"{folder.path}: no such run folder.")
    folder.read_run()
    return folder, loader.of_run(folder)


def comparison_gates(a: Path, b: Path) -> tuple[Parity, str]:
    """Return the gates for comparing B with A, and their origin: B's recipe, else A's, else the defaults."""
    from tledge import config
    from tledge.run import folder as run_folder

    for path in (b, a):
        if run_folder.is_run(path):
            return open_finished_run(path)[1].parity, f"[parity] of {path}"
    return config.Parity(), "tledge's defaults"
