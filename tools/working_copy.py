"""Copy what the fast tests need, so that code can be changed there and the tests run on it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

COPIED = ("recipes", "export", "docs", "tools", "constraints.txt", "Makefile", "README.md")
"""What tests read beside the package and themselves."""


def copy(folder: Path) -> None:
    """Copy the package, its tests and `COPIED` into a new folder; what was there is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "reference")
    for name in ("tledge", "tests", "pyproject.toml", *COPIED):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
