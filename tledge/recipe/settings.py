"""Apply the overrides of `--set`, such as `stage.0.epochs=2`, to a recipe's raw tables."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tledge.errors import RecipeError
from tledge.recipe import keys, toml_escapes, toml_reader
from tledge.recipe.definition import Recipe, table_name


def apply(raw: dict[str, Any], setting: str) -> None:
    """Apply one setting in place: a dotted path, `=`, and a TOML value or plain text.

    Raises:
        RecipeError: The setting has another form, or its path leads into no table.
    """
    if not toml_reader.is_text(setting):
        raise RecipeError(f"--set {setting!r}: not UTF-8.")
    path, equals, text = setting.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names):
        raise RecipeError(f"--set {setting}: expected TABLE.KEY=VALUE, such as stage.0.epochs=2.")
    if len(names) == 1 and (hint := missing_table(names[0])):
        raise RecipeError(f"--set {setting}: unknown key {names[0]!r}.{hint}")
    table: Any = raw
    for name in names[:-1]:
        table = _inner_table(table, name, setting)
    if isinstance(table, list):
        raise RecipeError(f"--set {setting}: {names[-2]!r} is a list. {_numbers(table)}")
    if not isinstance(table, dict):
        raise RecipeError(f"--set {setting}: {names[-2]!r} is not a table.")
    table[names[-1]] = _toml_value(text.strip(), setting)


def missing_table(key: str) -> str:
    """Return the hint for a key that stands outside of its table; "" where it is a table or unknown."""
    if key in {table_name(field.name) for field in fields(Recipe)}:
        return ""
    place = place_of(key)
    return f" Did you mean {place}?" if place else ""


def place_of(key: str) -> str:
    """Return a key as `--set` takes it, such as "stage.0.epochs"; "" where no table has it."""
    return next((path for path, _, field in keys.setting_paths() if field.name == key), "")


def _inner_table(table: Any, name: str, setting: str) -> Any:
    """Return the table or list of this name inside another one; a missing table is created."""
    if isinstance(table, list):
        if not name.isdecimal() or int(name) >= len(table):
            raise RecipeError(f"--set {setting}: {name!r} is not one of its numbers. {_numbers(table)}")
        return table[int(name)]
    if isinstance(table, dict):
        return table.setdefault(name, {})
    raise RecipeError(f"--set {setting}: there is no table {name!r}.")


def _numbers(tables: list[Any]) -> str:
    """Return the sentence that says which numbers a list of tables has: [[stage]] is the only one."""
    names = [table.get("name", "") if isinstance(table, dict) else "" for table in tables[:4]]
    known = [f"stage.{number}" + (f" ({name})" if name else "") for number, name in enumerate(names)]
    more = f" up to stage.{len(tables) - 1}" if len(tables) > len(names) else ""
    return f"Stages count from 0: use {' or '.join(known)}{more}."


def _toml_value(text: str, setting: str) -> Any:
    if fault := toml_escapes.find_fault(text):
        raise RecipeError(f"--set {setting}: {fault.partition(': ')[2]}")
    try:
        return toml_reader.loads(f"value = {text}")["value"]
    except ValueError:
        return text
