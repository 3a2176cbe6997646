"""Check the recipe's options of a data source, and fill in defaults."""

from __future__ import annotations

from collections.abc import Mapping

from tledge.config import Data
from tledge.data.sources.registry import SOURCES
from tledge.errors import RecipeError


def source_options(data: Data) -> dict[str, object]:
    """Return all options of the recipe's source, with defaults; raises RecipeError for unknown keys."""
    name, _, argument = data.source.partition(":")
    entry = SOURCES[name]
    unknown = sorted(set(data.options) - set(entry.module.OPTIONS))
    if unknown:
        raise RecipeError(
            f"[data] source {name!r} has no option {unknown[0]!r}. "
            f"Its options: {', '.join(sorted(entry.module.OPTIONS))}."
        )
    for key, value in data.options.items():
        if type(value) is not type(entry.module.OPTIONS[key]):
            default = entry.module.OPTIONS[key]
            raise RecipeError(f"[data] {key}: expected a value like {default!r}, got {value!r}.")
    chosen = {**entry.module.OPTIONS, **data.options}
    if argument and not entry.argument:
        raise RecipeError(f"[data] source {name!r} accepts nothing after a colon, got {argument!r}.")
    if argument:
        chosen[entry.argument] = argument
    if entry.argument and not chosen[entry.argument]:
        raise RecipeError(f'[data] source {name!r} needs its {entry.argument}: "{name}:...".')
    if entry.check:
        entry.check(chosen)
    return chosen


ADDED: dict[str, tuple[str, ...]] = {
    "folder": ("label_from",),
    "csv": ("folder", "ending", "prefixes", "label_columns", "encoding"),
}
"""Options by source that came after the first caches were made."""


def stored_options(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that are part of a cache's key and of a packed cache.

    Those of `ADDED` are left out where they have their default: a recipe without them keeps its cache.
    """
    defaults = SOURCES[name].module.OPTIONS
    added = ADDED.get(name, ())
    return {key: value for key, value in options.items() if key not in added or value != defaults[key]}


def with_defaults(name: str, stored: Mapping[str, object]) -> dict[str, object]:
    """Return stored options with those that were left out."""
    defaults = SOURCES[name].module.OPTIONS if name in SOURCES else {}
    return {**{key: defaults[key] for key in ADDED.get(name, ())}, **stored}
