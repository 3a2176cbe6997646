"""Runs with their reports, and changes to their files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers import fake_report
from tledge.report import write
from tledge.run.folder import RunFolder


def with_report(run: Path, path: Path) -> Path:
    """A copy of a run at `path` with measurements, a diagnosis and the report of all that."""
    folder = RunFolder(Path(shutil.copytree(run, path)))
    fake_report.add_bench(folder)
    fake_report.add_diagnosis(folder)
    write.write(folder)
    return path


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))
