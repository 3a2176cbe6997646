"""The report stage: what a run is, in one HTML file to look at, and as Markdown for a repository.

Both say the same, from the run's own files: `facts` gathers values, the templates show them. The
bytes depend on these files alone. The HTML asks for nothing from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tledge._io import files
from tledge.report import facts, render
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder


@dataclass(frozen=True)
class Written:
    """Where a report lies, and its verdict: "passed", "failed", "undecided" or "trained"."""

    html: Path
    text: Path
    verdict: str


@run_folder.alone
def write(folder: RunFolder) -> Written:
    """Write `report.html` and `report.md` of a finished run.

    Raises RunError where it is none, or a file of it is damaged, MissingError without jinja2.
    """
    found = facts.read(folder)
    page, text = render.html(found), render.markdown(found)
    files.write_text(folder.report, page)
    files.write_text(folder.report_text, text)
    return Written(folder.report, folder.report_text, found.verdict.kind)
