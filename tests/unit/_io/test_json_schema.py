"""Values of JSON files are of the types that the records name."""

from __future__ import annotations

from typing import Any

import pytest

from tledge._io import json_schema
from tledge.bundle import manifest
from tledge.run import records


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


def test_values_are_of_their_types() -> None:
    good = records.Score(1, 0.5, 0.4, 0.6)
    assert json_schema.validate_types(good) is good
    for bad in (
        records.Score("1", 0.5, 0.4, 0.6),
        records.Score(True, 0.5, 0.4, 0.6),
        records.Score(1, None, 0.4, 0.6),
    ):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="expected"):
            json_schema.validate_types(bad)
    row = records.ParityRow("a", "b", "c", 1, "passed", recall={"x": (1, 0.5, 0.5)}, reasons=("a",))
    assert json_schema.validate_types(row) is row
    with pytest.raises(ValueError, match=r"recall\.x"):
        json_schema.validate_types(
            records.ParityRow("a", "b", "c", 1, "passed", recall={"x": ("1", 0.5, 0.5)})
        )  # type: ignore[dict-item]
