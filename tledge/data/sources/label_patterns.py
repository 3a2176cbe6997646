"""Read labels from names of files or paths by a pattern: the option `label_from` of the source `folder`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tledge.errors import RecipeError
from tledge.preprocessing.file_formats import SUFFIXES

FOLDER = "folder"
"""The default of `label_from`: the folder of a photo is its label."""

EXPECTED = (
    'expected "folder", "name:PATTERN" for names such as "name:{label}_*", '
    'or "path:PATTERN" such as "path:{label}/*/*"'
)
PLACEHOLDERS = {"label": r"(?P<label>[^/]+)", "split": r"(?P<split>[^/]+)", "number": r"(?<![0-9])[0-9]+"}
"""What stands for each placeholder of a pattern in a regular expression."""

MAX_WILDCARDS = 8
"""Wildcards and placeholders of a pattern: the time to match a name grows with their number."""

_TOKEN = re.compile(r"\{(?P<name>[^{}]*)\}|(?P<any>\*\*?)|(?P<brace>[{}])|(?P<text>[^{}*]+)")


@dataclass(frozen=True)
class LabelPattern:
    """A checked pattern; `of_path` tells that it is matched with the whole path, not with the name."""

    of_path: bool
    expression: re.Pattern[str]

    def match(self, parts: Sequence[str]) -> tuple[str, str] | None:
        """Return split and label of a photo by the names that lead to it; None where it does not fit.

        With a pattern for names, the first folder is the split, if there is one.
        """
        name = without_ending(parts[-1])
        found = self.expression.fullmatch("/".join((*parts[:-1], name)) if self.of_path else name)
        if not found or not found["label"].strip():
            return None
        if self.of_path:
            return found.groupdict().get("split", "train"), found["label"].strip()
        return (parts[0] if len(parts) > 1 else "train"), found["label"].strip()


def without_ending(name: str) -> str:
    """Return a file's name without the ending of an image."""
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in SUFFIXES else name


def parse(text: str) -> LabelPattern | None:
    """Parse `label_from`; None for "folder".

    In a pattern `{label}` is the label and takes as much as it can, `{number}` is a whole number,
    `*` any text within a name, and in a path also `{split}`, and `**` any text with folders. Endings of
    images do not belong to it.

    Raises:
        RecipeError: It is neither "folder" nor a pattern with one `{label}`.
    """
    if text == FOLDER:
        return None
    kind, colon, pattern = text.partition(":")
    if not colon or kind not in ("name", "path") or not pattern:
        raise RecipeError(f"[data] label_from: {EXPECTED}; got {text!r}.{_nearest(kind, ('name', 'path'))}")
    of_path = kind == "path"
    if not of_path and "/" in pattern:
        raise RecipeError(f'[data] label_from: a name holds no "/"; use "path:{pattern}", got {text!r}.')
    tokens = list(_TOKEN.finditer(pattern))
    _check(tokens, of_path, text)
    return LabelPattern(of_path, re.compile("".join(map(_expression, tokens)), re.DOTALL))


def _check(tokens: Sequence[re.Match[str]], of_path: bool, text: str) -> None:
    known = [name for name in PLACEHOLDERS if of_path or name != "split"]
    names = [token["name"] for token in tokens if token["name"] is not None]
    for name in names:
        if name not in known:
            placeholders = ", ".join(f"{{{name}}}" for name in known)
            raise RecipeError(
                f"[data] label_from: no placeholder {{{name}}} in {text!r}. Known: {placeholders}, *."
                f"{_nearest(name, known)}"
            )
    if any(token["brace"] for token in tokens):
        raise RecipeError(f"[data] label_from: a brace without its other half in {text!r}.")
    if names.count("label") != 1 or names.count("split") > 1:
        raise RecipeError(f"[data] label_from: {EXPECTED}, with {{label}} once; got {text!r}.")
    if len(tokens) - sum(token["text"] is not None for token in tokens) > MAX_WILDCARDS:
        raise RecipeError(f"[data] label_from: more than {MAX_WILDCARDS} wildcards in {text!r}.")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {near[0]!r}?" if near and near[0] != name else ""


def _expression(token: re.Match[str]) -> str:
    if token["name"] is not None:
        return PLACEHOLDERS[token["name"]]
    if token["any"]:
        return ".*?" if token["any"] == "**" else "[^/]*?"
    return re.escape(token["text"])
