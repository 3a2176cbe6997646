"""Results as the Markdown table of docs/explanation/torture.md: `python -m torture.table RESULTS.json...`"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HEADS = ("group", "case", "what must hold", "amount", "seen", "s")


def rows(cases: Iterable[dict[str, Any]]) -> list[str]:
    """A line a case; the group's name stands at its first."""
    made, before = [], ""
    for one in cases:
        group = "" if one["group"] == before else f"`{before}`" if (before := one["group"]) else ""
        seen = one["observation"]["summary"] if one["verdict"] == "holds" else f"**{one['verdict']}**"
        cells = (group, one["name"], one["holds"], one["amount"], seen, f"{one['seconds']:.0f}")
        made.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return made


def main(paths: Sequence[str]) -> int:
    """Print the table of all cases in these files, a later file's case in place of an earlier one."""
    cases: dict[tuple[str, str], dict[str, Any]] = {}
    for path in paths:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        amount = {"amount": "reduced" if told["reduced"] else "full"}
        cases |= {(one["group"], one["name"]): one | amount for one in told["cases"]}
    print("| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS), *rows(cases.values()), sep="\n")
    return int(any(one["verdict"] != "holds" for one in cases.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
