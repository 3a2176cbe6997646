"""Values from JSON held to a JSON Schema: as much of draft 2020-12 as the schemas in `export/` use."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip

PLAIN = "no control characters, and no path that leads elsewhere"
"""What `not` is for in these schemas."""


def validate(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str = "") -> None:
    """Raise ValueError, saying where and what was expected, unless `value` is as `schema` has it.

    `root` is the schema whose `$defs` are meant; numbers have to be finite.
    """
    if "$ref" in schema:
        validate(value, root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root, where)
    for keyword, rule in RULES.items():
        if keyword in schema and not rule(value, schema[keyword]):
            expected = PLAIN if keyword == "not" else f"{keyword} {_short(schema[keyword])}"
            raise ValueError(f"{where or 'it'} is {_short(value)}, expected {expected}")
    if isinstance(value, dict):
        _require_fields(value, schema, root, where)
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            validate(one, schema["items"], root, f"{where}[{number}]")
    if "anyOf" in schema and value is not None:  # of something and null, which is all that is used
        validate(value, schema["anyOf"][0], root, where)


def _require_fields(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str
) -> None:
    known = schema.get("properties", {})
    within = f"{where}." if where else ""
    for name in schema.get("required", ()):
        if name not in value:
            raise ValueError(f"{within}{name} is missing")
    for name, one in value.items():
        if name in known:
            validate(one, known[name], root, within + name)
        elif schema.get("additionalProperties") is False:
            raise ValueError(f"{_short(within + name)} is unknown")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _has_type(value: Any, wanted: str | list[str]) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(value, bool):
        return "boolean" in names
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, tuple(kind for name in names for kind in TYPES[name]))


RULES: dict[str, Callable[[Any, Any], bool]] = {
    "type": _has_type,
    "const": lambda value, wanted: type(value) is type(wanted) and value == wanted,
    "enum": lambda value, wanted: value in wanted,
    "minimum": lambda value, least: not _is_number(value) or value >= least,
    "maximum": lambda value, most: not _is_number(value) or value <= most,
    "exclusiveMinimum": lambda value, least: not _is_number(value) or value > least,
    "minItems": lambda value, least: len(value) >= least,
    "maxItems": lambda value, most: len(value) <= most,
    "maxLength": lambda value, most: len(value) <= most,
    "uniqueItems": lambda value, wanted: not wanted or len(set(value)) == len(value),
    "pattern": lambda value, wanted: re.search(wanted, value) is not None,
    "not": lambda value, wanted: re.search(wanted["pattern"], value) is None,
}
"""Keywords in the order in which they are looked at, `type` first; null passes the bounds of numbers."""


def validate_types(value: Any) -> Any:
    """A frozen dataclass whose fields, and what is in them, are of the types that they are annotated with.

    Raises ValueError naming the first that is not: JSON may hold anything under any name.
    """
    for name, hint in _hints(type(value)).items():  # type: ignore[arg-type]  # a class is hashable
        _require_type(getattr(value, name), hint, name)
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    found = typing.get_type_hints(kind)
    return {one.name: found[one.name] for one in fields(kind)}


def _require_type(value: Any, hint: Any, where: str) -> None:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if is_dataclass(hint) and isinstance(value, typing.cast(type, hint)):
        validate_types(value)
    elif origin is types.UnionType:
        if value is not None:
            _require_type(value, inner[0], where)
    elif not isinstance(value, _plain(origin or hint)) or (isinstance(value, bool) and hint in (int, float)):
        raise ValueError(f"{where} is {_short(value)}, expected {getattr(hint, '__name__', hint)}")
    elif isinstance(value, tuple):
        kinds = inner[:1] * len(value) if inner[-1:] == (...,) else inner
        for one, kind in zip(value, kinds, strict=True):
            _require_type(one, kind, where)
    elif isinstance(value, dict):
        for name, one in value.items():
            _require_type(one, inner[1], f"{where}.{name}")


def _plain(kind: Any) -> Any:
    """What `isinstance` takes for an annotation: whole numbers serve as floats."""
    return (int, float) if kind is float else kind
