"""Finding what ships with tledge: the folders `recipes/` and `export/`.

In a wheel they lie inside the package (hatchling's `force-include`), in a checkout beside it.
"""

from __future__ import annotations

from pathlib import Path

from tledge.errors import RecipeError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Path of the shipped folder `recipes` or `export`."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def recipes() -> dict[str, Path]:
    """Shipped recipes: name without `.toml` to file, in alphabetical order."""
    return {path.stem: path for path in sorted(folder("recipes").glob("*.toml"))}


def find_recipe(wanted: str) -> Path:
    """The recipe file that `wanted` means: a path, or the name of a shipped recipe.

    Raises RecipeError where neither exists.
    """
    path = Path(wanted)
    if path.is_file():
        return path
    shipped = recipes()
    is_plain = path.parts in ((path.name,), ("recipes", path.name))
    if is_plain and path.name.removesuffix(".toml") in shipped:
        return shipped[path.name.removesuffix(".toml")]
    raise RecipeError(
        f"{wanted}: no such recipe. Give the path of a .toml file, or one of the shipped names: "
        f"{', '.join(shipped)}."
    )
