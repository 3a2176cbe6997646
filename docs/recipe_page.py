"""The page of the recipe's keys, from the dataclasses of `tledge/config.py`."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterator
from dataclasses import Field
from typing import Any, get_args, get_origin, get_type_hints

from words import code, page, plain, prose, table

from tledge import config
from tledge.recipe.definition import Recipe, table_name

WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "SplitPart": "a split",
}
"""Types of recipe keys, in words."""


def recipe() -> str:
    """Describe every table of a recipe and every key, from the dataclasses of `tledge/config.py`."""
    parts = [
        "# The recipe\n\nA TOML file. `[data]`, `[model]` and one `[[stage]]` or more have to be there; all "
        "else has a default. An unknown key or name ends with exit code 2 and the nearest spelling. "
        "`--set stage.0.epochs=2` overrides a key for one run."
    ]
    for title, cls in recipe_tables():
        parts += [f"## `{title}`", prose(cls.__doc__), _keys(cls)]
        if cls is config.Data:
            parts.append("Further keys are options of the source: see [data sources](sources.md).")
        if cls is config.Splits:
            parts += ["A split is taken so:", prose(config.SplitPart.__doc__)]
    return page(parts)


def recipe_tables(cls: type = Recipe, above: str = "") -> Iterator[tuple[str, type]]:
    """Yield every table with its title as a recipe writes it, tables inside tables after their own."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        is_list = get_origin(kind) is tuple
        inner = get_args(kind)[0] if is_list else kind
        name = f"{above}{table_name(field.name) if cls is Recipe else field.name}"
        if _is_table(inner):
            yield (f"[[{name}]]" if is_list else f"[{name}]"), inner
            yield from recipe_tables(inner, f"{name}.")


def _is_table(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) and hint is not config.SplitPart


def recipe_keys(cls: type) -> list[Field[Any]]:
    """Return the keys of a table: fields that are neither tables nor the options of a source."""
    hints = get_type_hints(cls)
    return [
        field
        for field in dataclasses.fields(cls)
        if field.name != "options" and not _is_table(hints[field.name])
    ]


def _keys(cls: type) -> str:
    hints = get_type_hints(cls)
    rows = [
        (code(field.name), _value(field, hints[field.name]), code(_default(field)), plain(_meaning(field)))
        for field in recipe_keys(cls)
    ]
    return table(("key", "value", "default", "meaning"), rows)


def _kind(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"list: {_kind(get_args(hint)[0])}"
    if isinstance(hint, types.UnionType):
        return " or ".join(map(_kind, get_args(hint)))
    return WORDS[hint.__name__]


def _default(field: Field[Any]) -> str:
    """Return a key's default as a recipe writes it."""
    value = field.default
    if isinstance(value, config.SplitPart):
        share = f"{{ from = {json.dumps(value.origin)}, fraction = {value.fraction} }}"
        return share if value.fraction else json.dumps(value.origin)
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _value(field: Field[Any], hint: Any) -> str:
    """Return what a key accepts: its type and range, or its choices."""
    low, high, choices = (field.metadata.get(name) for name in ("low", "high", "choices"))
    if choices:
        return ", ".join(map(code, choices))
    if low is not None and high is not None:
        return f"{_kind(hint)}, {low} to {high}"
    return _kind(hint) + (f", {low} or more" if low is not None else "")


def _meaning(field: Field[Any]) -> str:
    return str(field.metadata.get("meaning", "see above"))
