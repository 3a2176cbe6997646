"""Write words as Markdown: tables, and docstrings of the code."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table with a header; escape bars inside cells, and turn line ends into blanks."""
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Write text in the style of code; an empty text stays empty."""
    return f"`{text}`" if str(text) else ""


def plain(text: str) -> str:
    """Escape markup such as `<`, `*` and `[`, except in code between backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([<*\[\]{}_])", r"\\\1", part) for part in parts
    )


def prose(text: str | None) -> str:
    """Write a docstring: paragraphs as words, sections as lists, indented blocks as code."""
    blocks = re.split(r"\n{2,}", inspect.cleandoc(text or ""))
    return "\n\n".join(text for block in blocks if block and (text := _block(block)))


SECTIONS = ("Args", "Attributes", "Example", "Raises", "Returns", "Yields")
"""Titles of sections in docstrings."""


def _block(text: str) -> str:
    title, _, body = text.partition(":\n")
    if title in SECTIONS and body.startswith("    "):
        return _section(title, textwrap.dedent(body))
    if all(line.startswith("    ") for line in text.splitlines()):
        return f"```text\n{textwrap.dedent(text)}\n```"
    return plain(text)


def _section(title: str, body: str) -> str:
    """Write a section of a docstring: an example as code, names as a list, anything else as words.

    Attributes stand in the table of a class' fields, not here.
    """
    if title == "Attributes":
        return ""
    if title == "Example":
        return f"**{title}**\n\n{fenced(body, 'python')}"
    if title in ("Returns", "Yields"):
        return f"**{title}**\n\n{plain(body)}"
    items = (f"- `{name}`: {plain(meaning)}" for name, meaning in _entries(body).items())
    return f"**{title}**\n\n" + "\n".join(items)


def _entries(body: str) -> dict[str, str]:
    """Return the entries "name: meaning" of a section; a meaning may go on in indented lines."""
    parts = (entry.partition(":") for entry in re.split(r"\n(?=\S)", body))
    return {name: " ".join(meaning.split()) for name, _, meaning in parts}


def attributes(docstring: str | None) -> dict[str, str]:
    """Return the meanings in a docstring's section "Attributes", by name."""
    section = re.search(r"^Attributes:\n((?: {4}.*(?:\n|$))+)", inspect.cleandoc(docstring or ""), re.M)
    return _entries(textwrap.dedent(section[1]).rstrip()) if section else {}


def fenced(text: str, language: str = "text") -> str:
    """Write a block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def notes(thing: Any) -> dict[str, str]:
    """Return the strings below the fields of a class, or below the constants of a module, by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else tree.body
    return {
        before.target.id: ast.literal_eval(after.value)
        for before, after in pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


def page(parts: list[str]) -> str:
    """Join the parts of a page."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
