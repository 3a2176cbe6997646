"""Values are held to the JSON Schemas that ship with tledge."""

from __future__ import annotations

from typing import Any

from tledge._io import json_schema
from tledge.bundle import manifest


def test_schema_uses_what_is_understood_here() -> None:
    """A keyword that `tledge._io.json_schema` does not know would be passed over."""
    meant = ("properties", "required", "additionalProperties", "items", "anyOf", "$ref", "$defs")
    known = {*json_schema.RULES, *meant, "$schema", "$id", "title", "description"}

    def unknown(part: Any, of_names: bool = False) -> set[str]:
        if isinstance(part, list):
            return set().union(*map(unknown, part)) if part else set()
        if not isinstance(part, dict):
            return set()
        here = set() if of_names else set(part) - known
        return here.union(*(unknown(one, name in ("properties", "$defs")) for name, one in part.items()
                            if name not in ("not", "const", "enum")))  # fmt: skip

    assert unknown(manifest._schema()) == set()
    assert unknown({"properties": {"a": {"surprise": 1}}}) == {"surprise"}
