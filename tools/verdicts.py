"""A picture of the table that an export ends with: python tools/verdicts.py RUN OUT.svg

The figures are those of RUN's parity.json; the picture names no font that a reader would have to
fetch, and the same run gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tledge._io import files  # noqa: E402
from tledge.cli import tables  # noqa: E402
from tledge.run import folder  # noqa: E402

WIDTH = 76
"""Columns of the terminal that is drawn."""


def picture(run: Path) -> str:
    """Draw the verdict table of a run as SVG; raises RunError where nothing was verified there."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.terminal_theme import MONOKAI

    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(tables.parity_table(folder.RunFolder(run).read_parity(), console)[0])
    local = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.S)
    title = f"tledge export runs/{folder.RunFolder(run).read_run().name} --int8"
    return console.export_svg(title=title, theme=MONOKAI, code_format=local, unique_id="verdicts")


def main() -> None:
    """Draw the table of the run on the command line."""
    parser = argparse.ArgumentParser(description="Draw the verdict table of a run.")
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    files.write_text(asked.out, picture(asked.run))


if __name__ == "__main__":
    main()
