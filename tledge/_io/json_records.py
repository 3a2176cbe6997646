"""Read frozen dataclasses from JSON and write them: records of runs, bundles, caches and worker processes.

This is own code because a device that only predicts installs neither pydantic, msgspec nor cattrs.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

_JSON_KEY = "json_key"
_OMITTED = "omitted_by_default"


def stored_as(key: str) -> dict[str, str]:
    """Return the metadata of a dataclass field that keeps another key in JSON, so that older files open."""
    return {_JSON_KEY: key}


def omitted_by_default() -> dict[str, bool]:
    """Return the metadata of a field that stands in JSON only where it has a value, for older readers."""
    return {_OMITTED: True}


def to_json(value: Any) -> Any:
    """Convert dataclasses, and whatever they contain, to objects and lists that `json` writes."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part: getattr(value, part.name) for part in fields(value)}
        return {
            _key(part): to_json(inner)
            for part, inner in parts.items()
            if not (part.metadata.get(_OMITTED) and inner == part.default)
        }
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], raw: object, where: str = "") -> T:
    """Build a value of `kind` from parsed JSON, and check the type of everything in it.

    `kind` is a dataclass, or a `dict`, `list` or `tuple` of such, for example `dict[str, Score]`. Lists
    become tuples where the annotation says so, and whole numbers are accepted as floats.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message names it, below `where`.
    """
    value: T = _value(raw, kind, where)
    return value


def short_repr(value: object) -> str:
    """Return `repr(value)`, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _key(part: Field[Any]) -> str:
    key: str = part.metadata.get(_JSON_KEY, part.name)
    return key


@cache
def _fields(kind: Any) -> dict[str, tuple[str, Any, bool]]:
    """Return name, annotation and whether it is required of every field, by its key in JSON."""
    hints = typing.get_type_hints(kind)
    return {
        _key(part): (part.name, hints[part.name], part.default is MISSING and part.default_factory is MISSING)
        for part in fields(kind)
    }


def _value(raw: Any, hint: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object:
        return raw
    if is_dataclass(hint):
        return _dataclass(raw, hint, where)
    if origin is types.UnionType or origin is typing.Union:
        return _optional(raw, inner, where)
    if origin is tuple or origin is list:
        _require_type(raw, (list, tuple), "a list", where)
        return origin(_items(raw, inner, origin is tuple, where))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _require_type(raw, dict, "an object", where)
        return {name: _value(item, inner[1], _below(where, name)) for name, item in raw.items()}
    _require_type(raw, (int, float) if hint is float else hint, hint.__name__, where)
    if isinstance(raw, bool) and hint is not bool:
        raise _unexpected(raw, hint.__name__, where)
    return raw


def _dataclass(raw: Any, kind: Any, where: str) -> Any:
    _require_type(raw, dict, "an object", where)
    fields_by_key = _fields(kind)
    if unknown := sorted(raw.keys() - fields_by_key.keys()):
        raise ValueError(f"{short_repr(_below(where, unknown[0]))} is unknown")
    values = {}
    for key, (name, hint, required) in fields_by_key.items():
        if key in raw:
            values[name] = _value(raw[key], hint, _below(where, key))
        elif required:
            raise ValueError(f"{_below(where, key)} is missing")
    return kind(**values)


def _optional(raw: Any, kinds: tuple[Any, ...], where: str) -> Any:
    """Read a value of `X | None`; of several kinds, the first that fits."""
    if raw is None and type(None) in kinds:
        return None
    *others, last = (kind for kind in kinds if kind is not type(None))
    for kind in others:
        try:
            return _value(raw, kind, where)
        except ValueError:
            continue
    return _value(raw, last, where)


def _items(raw: list[Any], kinds: tuple[Any, ...], is_tuple: bool, where: str) -> Iterator[Any]:
    """Yield the items of a list: all of one kind, or of as many kinds as a tuple of fixed length names."""
    if is_tuple and kinds[-1:] != (...,):
        if len(raw) != len(kinds):
            raise _unexpected(raw, f"{len(kinds)} values", where)
    else:
        kinds = kinds[:1] * len(raw)
    for number, (item, kind) in enumerate(zip(raw, kinds, strict=True)):
        yield _value(item, kind, f"{where}[{number}]")


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _require_type(raw: Any, kind: Any, expected: str, where: str) -> None:
    if not isinstance(raw, kind):
        raise _unexpected(raw, expected, where)


def _unexpected(raw: object, expected: str, where: str) -> ValueError:
    return ValueError(f"{where or 'it'} is {short_repr(raw)}, expected {expected}")
