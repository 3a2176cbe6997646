"""The page of the recipe's keys, from the dataclasses of `tledge/config.py`."""

from __future__ import annotations

from dataclasses import Field
from typing import Any

from words import code, page, plain, prose, table

from tledge import config
from tledge.recipe import keys


def recipe() -> str:
    """Describe every table of a recipe and every key, from the dataclasses of `tledge/config.py`."""
    parts = [
        "# The recipe\n\nA TOML file. `[data]`, `[model]` and one `[[stage]]` or more have to be there; all "
        "else has a default. An unknown key or name ends with exit code 2 and the nearest spelling. "
        "`--set stage.0.epochs=2` overrides a key for one run; `tledge list keys` shows all of them in the "
        "terminal. Stages count from 0: the first `[[stage]]` is `stage.0`."
    ]
    for title, cls in keys.tables():
        parts += [f"## `{title}`", prose(cls.__doc__), _keys(cls)]
        if cls is config.Data:
            parts.append("Further keys are options of the source: see [data sources](sources.md).")
        if cls is config.Splits:
            parts += ["A split is taken so:", prose(config.SplitPart.__doc__)]
    return page(parts)


def _keys(cls: type) -> str:
    rows = [
        (code(field.name), _values(cls, field), code(keys.default(field)), plain(_meaning(field)))
        for field in keys.keys(cls)
    ]
    return table(("key", "value", "default", "meaning"), rows)


def _values(cls: type, field: Field[Any]) -> str:
    choices = field.metadata.get("choices")
    return ", ".join(map(code, choices)) if choices else keys.accepted_values(cls, field)


def _meaning(field: Field[Any]) -> str:
    return str(field.metadata.get("meaning", "see above"))
