"""Print results as the table of docs/explanation/torture.md: `python -m torture.table RESULTS.json...`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("boundary", "group", "case", "what must hold", "amount", "seen", "s")


def rows(cases: Iterable[dict[str, Any]]) -> list[str]:
    """Write one table row for each case; a boundary and a group stand only in their first row."""
    lines, before = [], {"boundary": "", "group": ""}
    for case in cases:
        head = ["" if case[name] == before[name] else f"`{case[name]}`" for name in before]
        outcome = case["observation"]["summary"] if case["verdict"] == "holds" else f"**{case['verdict']}**"
        cells = (*head, case["name"], case["holds"], case["amount"], outcome, f"{case['seconds']:.0f}")
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
        before = {name: case[name] for name in before}
    return lines


def main(paths: Sequence[str]) -> int:
    """Print the table of all cases in these files, a later file's case in place of an earlier one."""
    cases: dict[tuple[str, str], dict[str, Any]] = {}
    for path in paths:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
        amount = {"amount": "reduced" if results["reduced"] else "full"}
        cases |= {(case["group"], case["name"]): case | amount for case in results["cases"]}
    print("| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), *rows(cases.values()), sep="\n")
    return int(any(case["verdict"] != "holds" for case in cases.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
