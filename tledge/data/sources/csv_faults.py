"""Tell what is wrong with the lines of a CSV file: a cause that many lines share is told once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

FEW = 3
"""Lines with one cause up to which each is told in full; of more, so many are examples."""

MOST = 10
"""Messages about one file."""

_OF_THE_LINE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\d+""")
"""The parts of a message in which lines with the same cause differ: quoted text, lists and numbers."""


def cause(text: str) -> str:
    """Return what messages about the same cause have in common."""
    return _OF_THE_LINE.sub("…", text)


def message(table: Path, faults: Sequence[tuple[int, str]], lines: int) -> str:
    """Describe the faults of a table of so many lines: pairs of the line's number and a sentence about it."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for number, text in faults:
        groups.setdefault(cause(text), []).append((number, text))
    told: list[str] = []
    for group in groups.values():
        told += _each(table, group) if len(group) <= FEW else [_together(table, group, lines)]
    rest = f"\nand {len(told) - MOST} more messages" if len(told) > MOST else ""
    return "\n".join(told[:MOST]) + rest


def _each(table: Path, group: Sequence[tuple[int, str]]) -> list[str]:
    return [f"{table}:{number}: {text}" for number, text in group]


def _together(table: Path, group: Sequence[tuple[int, str]], lines: int) -> str:
    number, text = group[0]
    others = ", ".join(f"line {number}{_example(text)}" for number, text in group[1:FEW])
    return f"{table}: {len(group)} of {lines} lines are like line {number}: {text} Others: {others}."


def _example(text: str) -> str:
    """Return what the line itself says: the first quoted text of the message, if there is one."""
    found = _OF_THE_LINE.search(text)
    return f" {found[0]}" if found and found[0][0] in "'\"[" else ""
