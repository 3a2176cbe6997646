"""Rename the fields of a record to its keys in JSON files, and back.

A record's field may get a better name while its files keep the old key, so that files of earlier
versions still open: `field(metadata={JSON_KEY: "old"})`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JSON_KEY = "json_key"
"""The entry of a field's metadata that holds its key in JSON, where that is not its name."""


def to_json(record: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a record as JSON takes them, under their JSON keys."""
    keys = _keys(type(record))
    return {keys[name]: value for name, value in asdict(record).items()}


def from_keys(kind: type[DataclassInstance], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a JSON object holds, by the field names of the record `kind`; unknown keys stay."""
    names = {key: name for name, key in _keys(kind).items()}
    return {names.get(key, key): value for key, value in raw.items()}


def _keys(kind: type[DataclassInstance]) -> dict[str, str]:
    return {field.name: field.metadata.get(JSON_KEY, field.name) for field in fields(kind)}
