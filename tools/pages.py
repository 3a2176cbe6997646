"""Code in pages of Markdown: the fenced blocks, and where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence, what stands behind the fence, its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of a `sh` block, without comments and empty ones; what a backslash parts is joined."""
        whole = re.sub(r"\s*\\\n\s*", " ", self.text)
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in whole.splitlines())
        return [line for line in lines if line]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language or 'no language'})"


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page, from top to bottom."""
    return blocks_of(path.read_text(encoding="utf-8"), path.name)


def blocks_of(text: str, page: str) -> list[Block]:
    """Yield the fenced blocks of a page's text."""
    return [
        Block(page, text.count("\n", 0, one.start()) + 1, one[1].strip(), one[2])
        for one in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    ]


def indented(text: str) -> list[str]:
    """Lines of code that stand indented instead of fenced, where no test would see them."""
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return re.findall(r"(?:^|\n)\n(    [^\n]*)", bare)
