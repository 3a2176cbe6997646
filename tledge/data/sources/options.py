"""Check the recipe's options of a data source, fill in defaults, and read the labels that it lists."""

from __future__ import annotations

from collections.abc import Mapping

from tledge._io import file_guard, resource_errors
from tledge.config import Data
from tledge.data.labels import parse_labels_file
from tledge.data.sources.registry import SOURCES
from tledge.errors import DataError, MissingError, RecipeError

LARGEST = 1 << 23
"""Bytes of a labels file: hundreds of thousands of labels."""


def source_options(data: Data) -> dict[str, object]:
    """Return all options of the recipe's source, with defaults; raises RecipeError for unknown keys."""
    name, _, argument = data.source.partition(":")
    entry = SOURCES[name]
    unknown = sorted(set(data.options) - set(entry.module.OPTIONS))
    if unknown:
        raise RecipeError(
            f"[data] source {name!r} has no option {unknown[0]!r}. "
            f"Its options: {', '.join(sorted(entry.module.OPTIONS))}."
        )
    for key, value in data.options.items():
        if type(value) is not type(entry.module.OPTIONS[key]):
            default = entry.module.OPTIONS[key]
            raise RecipeError(f"[data] {key}: expected a value like {default!r}, got {value!r}.")
    chosen = {**entry.module.OPTIONS, **data.options}
    if argument and not entry.argument:
        raise RecipeError(f"[data] source {name!r} accepts nothing after a colon, got {argument!r}.")
    if argument:
        chosen[entry.argument] = argument
    if entry.argument and not chosen[entry.argument]:
        raise RecipeError(f'[data] source {name!r} needs its {entry.argument}: "{name}:...".')
    if entry.check:
        entry.check(chosen)
    if data.labels and data.labels_file:
        raise RecipeError("[data] labels and labels_file: both are set. Keep one of them.")
    if data.labels and "labels" in chosen:
        chosen["labels"] = list(data.labels)
    return chosen


def read_options(data: Data) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return all options of the source, and the labels that the recipe or its labels file lists."""
    options = source_options(data)
    listed = data.labels or _read_labels_file(data.labels_file)
    if listed and "labels" in options:
        options["labels"] = list(listed)
    return options, listed


def _read_labels_file(name: str) -> tuple[str, ...]:
    """Return the labels in a file, () where none is named."""
    if not name:
        return ()
    path = resource_errors.expanded(name)
    if not path.is_file():
        raise MissingError(f"{path}: no such file. [data] labels_file takes a text file of one label a line.")
    try:
        labels = parse_labels_file(file_guard.read_bytes(path, follow=True, limit=LARGEST, error=DataError))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}). Save it as UTF-8.") from error
    if not all(labels) or not labels:
        raise DataError(f"{path}: has an empty line, expected one label a line, as many as classes.")
    return labels


ADDED: dict[str, tuple[str, ...]] = {
    "folder": ("label_from",),
    "csv": ("folder", "ending", "prefixes", "label_columns", "encoding"),
}
"""Options by source that came after the first caches were made."""


def stored_options(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that are part of a cache's key and of a packed cache.

    Those of `ADDED` are left out where they have their default: a recipe without them keeps its cache.
    """
    defaults = SOURCES[name].module.OPTIONS
    added = ADDED.get(name, ())
    return {key: value for key, value in options.items() if key not in added or value != defaults[key]}


def with_defaults(name: str, stored: Mapping[str, object]) -> dict[str, object]:
    """Return stored options with those that were left out."""
    defaults = SOURCES[name].module.OPTIONS if name in SOURCES else {}
    return {**{key: defaults[key] for key in ADDED.get(name, ())}, **stored}
