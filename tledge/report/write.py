"""Write the report of a run: one HTML file, and Markdown for a repository.

Both have the same content, from the run's own files: `facts` gathers values, the templates display
them. Reports are reproducible from these files. The HTML loads nothing from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tledge._io import files
from tledge.report import facts, predictions, render
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder


@dataclass(frozen=True)
class Written:
    """The files of a report, and its verdict: "passed", "failed", "undecided" or "trained"."""

    html: Path
    text: Path
    verdict: str


@run_folder.alone
def write(folder: RunFolder) -> Written:
    """Write `report.html` and `report.md` of a finished run, and `classes.csv` where it has many classes.

    Raises RunError for an unfinished run or a damaged file, MissingError without jinja2.
    """
    report = facts.read(folder)
    page, text = render.html(report), render.markdown(report)
    files.write_text(folder.report, page)
    files.write_text(folder.report_text, text)
    if report.answers and len(report.answers.classes) > len(report.answers.listed):
        files.write_text(folder.class_table, predictions.class_table(report.answers))
    return Written(folder.report, folder.report_text, report.verdict.kind)
