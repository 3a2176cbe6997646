"""Find what ships with tledge: the folders `recipes/` and `export/`, and `constraints.txt`.

In a wheel they lie in `tledge/_resources` (hatchling's `force-include`), in a checkout beside the package.
"""

from __future__ import annotations

import re
from pathlib import Path

from tledge.errors import RecipeError

_PACKAGE = Path(__file__).resolve().parent.parent

_INSTALLED = {"export": "devices", "recipes": "recipes", "constraints.txt": "constraints.txt"}
"""Names in `tledge/_resources`, by the names in a checkout."""


def folder(name: str) -> Path:
    """Return the path of the shipped folder `recipes` or `export`."""
    return _path(name)


def _path(name: str) -> Path:
    installed = _PACKAGE / "_resources" / _INSTALLED[name]
    return installed if installed.exists() else _PACKAGE.parent / name


def recipes() -> dict[str, Path]:
    """Map the names of the shipped recipes, without `.toml`, to their files, in alphabetical order."""
    return {path.stem: path for path in sorted(folder("recipes").glob("*.toml"))}


def tested_versions() -> dict[str, str]:
    """Read from `constraints.txt` the package versions that tledge was tested with, by `package_key`."""
    lines = _path("constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {package_key(name): version for name, _, version in pins}


def package_key(name: str) -> str:
    """Normalize a package's name as indexes do: "Ai_Edge.LiteRT" and "ai-edge-litert" are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_recipe(name: str) -> Path:
    """Find the recipe file by its path, or by the name of a shipped recipe.

    Raises RecipeError where neither exists.
    """
    path = Path(name)
    try:
        if path.is_file():
            return path
        is_other = path.exists()
    except OSError as error:
        raise RecipeError(f"{name[:80]}: the recipe cannot be read ({error.strerror}).") from error
    shipped = recipes()
    is_plain = path.parts in ((path.name,), ("recipes", path.name))
    if is_plain and path.name.removesuffix(".toml") in shipped:
        return shipped[path.name.removesuffix(".toml")]
    problem = "not a file" if is_other else "no such recipe"
    raise RecipeError(
        f"{name}: {problem}. Give the path of a .toml file, or one of the shipped names: "
        f"{', '.join(shipped)}."
    )
