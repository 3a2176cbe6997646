"""Write Markdown in which text of users (names, labels, descriptions) stays plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from tledge._io.encoding import one_line

SPECIAL = "\\|`*_<>[]&~$"
"""Characters that begin markup, or end the cell of a table."""

_BLOCK = re.compile(r"^(#{1,6}(?=\s|$)|[-+](?=\s|$)|-(?=[- ]*$)|=(?=[= ]*$)|\d{1,9}(?=[.)](?:\s|$)))")
"""What begins a heading, a list or a line where it is the first of a line."""

_ADDRESS = re.compile(r"(?i)(https?|ftp)(?=://)|(www)(?=\.)")
"""Where an address begins that would become a link by itself."""


def escape(value: object) -> str:
    """Return a value as one line of plain text: no markup, no end of a table's cell, no control character."""
    line = _one_line(value)
    plain = "".join(f"\\{character}" if character in SPECIAL else character for character in line)
    plain = _BLOCK.sub(lambda match: f"\\{match[0]}" if not match[0].isdigit() else f"{match[0]}\\", plain)
    return _ADDRESS.sub(r"\g<0>\\", plain)


def code(value: object) -> str:
    """Return a value as code, fenced by more backticks than it contains."""
    line = _one_line(value)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def address(path: object) -> str:
    """Return a path as the address of a link or an image."""
    return quote(str(path))


def _one_line(value: object) -> str:
    return one_line(" ".join(str(value).split()))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; every column but the first is aligned to the right."""
    lines = [map(escape, head), ["---", *["---:"] * (len(head) - 1)], *(map(escape, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def single_blank_lines(text: str) -> str:
    """Return the text without trailing spaces, repeated blank lines, and blank lines at its ends."""
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"
