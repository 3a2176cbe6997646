"""Check the recipe's options of a data source, and fill in defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tledge.config import Data
from tledge.data.sources.registry import SOURCES
from tledge.errors import RecipeError

if TYPE_CHECKING:
    pass


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
    return chosen
