"""Write Markdown in which text of users (names, labels, descriptions) stays plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SPECIAL = "\\|`*_<>[]"
"""Characters that begin markup, or end the cell of a table."""


def escape(value: object) -> str:
    """Return a value as one line of plain text: no markup, and no end of a table's cell."""
    line = " ".join(str(value).split())
    return "".join(f"\\{character}" if character in SPECIAL else character for character in line)


def code(value: object) -> str:
    """Return a value as code, fenced by more backticks than it contains."""
    line = " ".join(str(value).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; every column but the first is aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *(map(escape, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def single_blank_lines(text: str) -> str:
    """Return the text without trailing spaces, repeated blank lines, and blank lines at its ends."""
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"
