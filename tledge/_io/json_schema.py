"""Check values from JSON against a JSON Schema: the part of draft 2020-12 that the schemas in `export/` use.

This is own code because a device that only predicts installs no jsonschema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tledge._io.json_records import short_repr

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip

PLAIN = "no control characters, and no path that leads elsewhere"
"""What `not` expresses in these schemas, for messages."""


def validate(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str = "") -> None:
    """Raise ValueError, which says where and what was expected, unless `value` satisfies `schema`.

    `root` is the schema that holds the `$defs`; numbers must be finite.
    """
    if "$ref" in schema:
        validate(value, root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root, where)
    for keyword, rule in RULES.items():
        if keyword in schema and not rule(value, schema[keyword]):
            expected = PLAIN if keyword == "not" else f"{keyword} {short_repr(schema[keyword])}"
            raise ValueError(f"{where or 'it'} is {short_repr(value)}, expected {expected}")
    if isinstance(value, dict):
        _require_fields(value, schema, root, where)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            validate(item, schema["items"], root, f"{where}[{number}]")
    if "anyOf" in schema and value is not None:  # always of one schema and null
        validate(value, schema["anyOf"][0], root, where)


def _require_fields(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str
) -> None:
    properties = schema.get("properties", {})
    within = f"{where}." if where else ""
    for name in schema.get("required", ()):
        if name not in value:
            raise ValueError(f"{within}{name} is missing")
    for name, item in value.items():
        if name in properties:
            validate(item, properties[name], root, within + name)
        elif schema.get("additionalProperties") is False:
            raise ValueError(f"{short_repr(within + name)} is unknown")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _has_type(value: Any, expected: str | list[str]) -> bool:
    names = [expected] if isinstance(expected, str) else expected
    if isinstance(value, bool):
        return "boolean" in names
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, tuple(kind for name in names for kind in TYPES[name]))


RULES: dict[str, Callable[[Any, Any], bool]] = {
    "type": _has_type,
    "const": lambda value, expected: type(value) is type(expected) and value == expected,
    "enum": lambda value, choices: value in choices,
    "minimum": lambda value, least: not _is_number(value) or value >= least,
    "maximum": lambda value, most: not _is_number(value) or value <= most,
    "exclusiveMinimum": lambda value, least: not _is_number(value) or value > least,
    "minItems": lambda value, least: len(value) >= least,
    "maxItems": lambda value, most: len(value) <= most,
    "maxLength": lambda value, most: len(value) <= most,
    "uniqueItems": lambda value, required: not required or len(set(value)) == len(value),
    "pattern": lambda value, pattern: re.search(pattern, value) is not None,
    "not": lambda value, schema: re.search(schema["pattern"], value) is None,
}
"""Keywords in the order in which they are checked, `type` first; bounds do not apply to null."""
