"""Read TOML from users within limits on size, keys, numbers and nesting.

Reading any input ends soon and in little memory, and its values can be printed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from tledge.errors import RecipeError

LARGEST = 1 << 20
"""Characters of a recipe file: a list of 20,000 labels fits."""

DEEPEST = 16
"""Levels of nested tables and lists; recipes need four."""

CHAIN = re.compile(r"""(?:\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*){64}""")
"""A dotted key of 65 names. The time and memory that `tomllib` needs grow with the square of the length."""

SHOWN = 600
"""Characters of a message; longer quotations of a recipe lose their middle."""


def read_text(path: Path) -> str:
    """Read the text of a recipe file; raise RecipeError if it cannot be read, or is a pipe or a device."""
    try:
        if path.exists() and not path.is_file():
            raise RecipeError(f"{path}: not a file. Give the path of a .toml file.")
        with path.open(encoding="utf-8-sig") as file:  # Windows' editor begins with a mark
            text = file.read(LARGEST + 1)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 ({error}). Save it as UTF-8.") from error
    except OSError as error:
        raise RecipeError(f"{path}: the recipe cannot be read ({error}).") from error
    if len(text) > LARGEST:
        raise RecipeError(f"{path}: more than {LARGEST} characters. A recipe is a short TOML file.")
    return text


def loads(text: str) -> dict[str, Any]:
    """Parse TOML; raise ValueError for invalid TOML, and for keys or nesting that would take too long."""
    if chain := CHAIN.search(text):
        raise ValueError(f"a key of more than 64 names (at line {text.count(chr(10), 0, chain.start()) + 1})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("too many nested brackets") from None


def refuse_endless(raw: dict[str, Any]) -> None:
    """Raise RecipeError for nesting that is too deep, and for numbers beyond 64 bits."""
    pending: list[tuple[tuple[str, ...], Any]] = [((), raw)]
    while pending:
        names, value = pending.pop()
        where = f"[{'.'.join(names[:-1])}] {names[-1]}" if len(names) > 1 else f"[{''.join(names)}]"
        if len(names) > DEEPEST:
            raise RecipeError(f"{where}: nested deeper than {DEEPEST} tables and lists.")
        if isinstance(value, (dict, list)):
            items = value.items() if isinstance(value, dict) else enumerate(value, 1)
            pending += [((*names, str(name)), item) for name, item in items]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise RecipeError(f"{where}: a whole number beyond 64 bits.")


def cut(text: str) -> str:
    """Shorten a message to `SHOWN` characters by leaving out its middle."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}"


def is_text(text: str) -> bool:
    """Check that a text has no bytes of the command line that were not UTF-8; no file could hold these."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
