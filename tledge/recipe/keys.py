"""Describe the keys of a recipe, from the dataclasses of `tledge.config`: values, default and meaning."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterator
from dataclasses import Field
from typing import Any, get_args, get_origin, get_type_hints

from tledge import config
from tledge.recipe.definition import Recipe, table_name

TYPE_NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "SplitPart": "a split",
}


def tables(cls: type = Recipe, above: str = "") -> Iterator[tuple[str, type]]:
    """Yield every table with its title as a recipe writes it, tables inside tables after their own."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        is_list = get_origin(kind) is tuple
        inner = get_args(kind)[0] if is_list else kind
        name = f"{above}{table_name(field.name) if cls is Recipe else field.name}"
        if _is_table(inner):
            yield (f"[[{name}]]" if is_list else f"[{name}]"), inner
            yield from tables(inner, f"{name}.")


def keys(table: type) -> list[Field[Any]]:
    """Return the keys of a table: fields that are neither tables nor the options of a source."""
    hints = get_type_hints(table)
    return [
        field
        for field in dataclasses.fields(table)
        if field.name != "options" and not _is_table(hints[field.name])
    ]


def setting_paths() -> Iterator[tuple[str, type, Field[Any]]]:
    """Yield every key as `--set` takes it, such as "stage.0.epochs", with its table and field."""
    for title, table in tables():
        path = f"{title.strip('[]')}.0" if title.startswith("[[") else title.strip("[]")
        for field in keys(table):
            yield f"{path}.{field.name}", table, field


def accepted_values(table: type, field: Field[Any]) -> str:
    """Return what a key accepts: its choices, separated by commas, or its type and range."""
    hint = get_type_hints(table)[field.name]
    low, high, choices = (field.metadata.get(name) for name in ("low", "high", "choices"))
    if choices:
        return ", ".join(choices)
    if low is not None and high is not None:
        return f"{_type_name(hint)}, {low} to {high}"
    return _type_name(hint) + (f", {low} or more" if low is not None else "")


def default(field: Field[Any]) -> str:
    """Return a key's default as a recipe writes it."""
    value = field.default
    if isinstance(value, config.SplitPart):
        share = f"{{ from = {json.dumps(value.origin)}, fraction = {value.fraction} }}"
        return share if value.fraction else json.dumps(value.origin)
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _is_table(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) and hint is not config.SplitPart


def _type_name(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"list: {_type_name(get_args(hint)[0])}"
    if isinstance(hint, types.UnionType):
        return " or ".join(map(_type_name, get_args(hint)))
    return TYPE_NAMES[hint.__name__]
