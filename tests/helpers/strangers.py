"""Files that another account of this machine owns, without a second account and without root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

OTHER_ACCOUNT = 54321


def give_away(monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    """Let files, folders and links be another account's, and what lies in these folders."""
    look = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        facts = look(path)
        if not any(place == path or place in path.parents for place in places):
            return facts
        return os.stat_result((*facts[:4], OTHER_ACCOUNT, *facts[5:10]))

    monkeypatch.setattr(Path, "lstat", lstat)
