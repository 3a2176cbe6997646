"""TOML as people hand it over, within limits: files that are none, endless keys, numbers and nesting.

Whatever is read ends soon, in little memory, and can be printed.
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
"""Tables and lists within each other; recipes need four."""

CHAIN = re.compile(r"""(?:\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*){64}""")
"""A dotted key of 65 names. The time and memory that `tomllib` takes for one grow with its square."""

SHOWN = 600
"""Characters of a message; what a recipe holds may be longer, and is quoted from both ends."""


def read_text(path: Path) -> str:
    """The text of a recipe file; raises RecipeError where it cannot be read, or is a pipe or a device."""
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
    """Tables from TOML; raises ValueError for what is none, and for what would take the reader for ever."""
    if found := CHAIN.search(text):
        raise ValueError(f"a key of more than 64 names (at line {text.count(chr(10), 0, found.start()) + 1})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("too many brackets within each other") from None


def refuse_endless(raw: dict[str, Any]) -> None:
    """Raise RecipeError for nesting, and for numbers, beyond what anything here could print."""
    left: list[tuple[tuple[str, ...], Any]] = [((), raw)]
    while left:
        names, value = left.pop()
        where = f"[{'.'.join(names[:-1])}] {names[-1]}" if len(names) > 1 else f"[{''.join(names)}]"
        if len(names) > DEEPEST:
            raise RecipeError(f"{where}: nested deeper than {DEEPEST} tables and lists.")
        if isinstance(value, (dict, list)):
            items = value.items() if isinstance(value, dict) else enumerate(value, 1)
            left += [((*names, str(name)), one) for name, one in items]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise RecipeError(f"{where}: a whole number beyond 64 bits.")


def cut(text: str) -> str:
    """A message without the middle of what it quotes, where that is long."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}"


def is_text(text: str) -> bool:
    """False where bytes of the command line were no UTF-8, so that no file could hold the text."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
