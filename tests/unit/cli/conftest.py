"""Commands of these tests run in an empty folder."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder that is the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
