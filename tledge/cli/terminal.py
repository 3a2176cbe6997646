"""Fit text to the width of a terminal: lines break between words, never inside a word or a number."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

_LEAD = re.compile(r"\s*(?:\S+(?: \S+)*\s{2,}|(?:Next|Run|Bundle|Report|Recipe): )?")
"""What stands before the text of a line: its indent, or a name and the gap to its value."""

DEEPEST = 24
"""Columns up to which the lines after the first are indented to where its text begins."""

_COMMAND = re.compile(r"(?:Next: +|  +)?tledge [a-z]+ ")
"""A line that is a command to type."""


def width_of(stream: Any) -> int | None:
    """Return the columns of the terminal that a stream writes to; None if it is no terminal."""
    try:
        if not stream.isatty():
            return None
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(stream.fileno()).columns) or None
    except (OSError, ValueError):
        return None


def fit(text: str, width: int | None) -> str:
    """Break every line of a text that is wider than `width`; no text changes without a width."""
    if width is None or all(cells(line) <= width for line in text.split("\n")):
        return text
    return "\n".join(part for line in text.split("\n") for part in wrap(line, width))


def cells(text: str) -> int:
    """Return the columns that a text takes: most Chinese, Japanese and Korean characters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrap(line: str, width: int) -> list[str]:
    """Return a line in parts of at most `width` columns, broken between words; a longer word stays whole.

    Where the line is a command, its parts end with a backslash, so that a shell takes them as one.
    """
    if cells(line) <= width:
        return [line]
    is_command = bool(_COMMAND.match(line))
    begin = _beginning(line, width)
    *parts, last = _hanging(begin, line[len(begin) :], width - 2 * is_command)
    ending = " \\" if is_command else ""
    return [*(f"{part}{ending}" for part in parts), last]


LEAST = 20
"""Columns that the last cell of a row needs to be read beside the others."""


def rows_as_lines(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return rows as lines of aligned columns, whose last one breaks between words.

    Where that leaves too little for it, each row is a line with its first cell, and the others below it.
    """
    columns = list(zip_longest(*rows, fillvalue=""))
    widths = [max(map(cells, column)) for column in columns]
    before = sum(widths[:-1]) + 2 * (len(widths) - 1)
    longest = max((cells(word) for text in columns[-1] for word in text.split()), default=0)
    if before + min(widths[-1], max(LEAST, longest)) > width:
        return [line for row in rows for line in _below(row, width)]
    lines = []
    for *firsts, last in zip(*columns, strict=True):
        padded = (text + " " * (size - cells(text) + 2) for text, size in zip(firsts, widths, strict=False))
        lines += _hanging("".join(padded), last, width)
    return [line.rstrip() for line in lines]


def _below(row: Sequence[str], width: int) -> list[str]:
    others = "  ".join(text for text in row[1:] if text)
    return [row[0], *(_hanging("  ", others, width) if others else [])]


def _hanging(begin: str, text: str, width: int) -> list[str]:
    """Return a beginning and a text behind it, whose other lines are indented as deep."""
    indent, parts, part, is_empty = " " * cells(begin), [], begin, True
    for word in text.split(" "):
        longer = f"{part}{word}" if is_empty else f"{part} {word}"
        if cells(longer) > width and not is_empty:
            parts.append(part)
            longer = f"{indent}{word}"
        part, is_empty = longer, False
    return [*parts, part]


def _beginning(line: str, width: int) -> str:
    """Return what stands before the text of a line, below which the other lines stay empty."""
    lead = _LEAD.match(line)
    if lead and cells(lead[0]) <= min(DEEPEST, width // 3):
        return lead[0]
    return line[: len(line) - len(line.lstrip(" "))]
