"""A report written again, and its verdicts."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.fake_report import Page
from tledge.report import write
from tledge.run.folder import RunFolder


def rewritten(path: Path) -> Page:
    return Page(write.write(RunFolder(path)).html.read_text(encoding="utf-8"))
