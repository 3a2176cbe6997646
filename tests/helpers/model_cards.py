"""Reading model cards."""

from __future__ import annotations


def rows_of(text: str, head: str) -> dict[str, list[str]]:
    """Rows of the table whose header begins so, by their first cell."""
    block = text[text.index(f"| {head} |") :].split("\n\n", maxsplit=1)[0]
    rows = [line.strip("| ").replace("\\", "").split(" | ") for line in block.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}
