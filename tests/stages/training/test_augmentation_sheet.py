"""The sheet of augmented photos shows the changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command_line import Cli
from tests.helpers.inspected_folders import report, scenes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of two labels, each of another scene, and a recipe for them."""
    monkeypatch.chdir(tmp_path)
    return scenes(tmp_path)


def test_augmented_sheet_shows_changes(folder: Path, cli: Cli) -> None:
    found = report(cli, "--set", "augment.brightness=0.5", "--out", "sheets")
    assert found["sheets"][-1] == "sheets/augmented.png"  # type: ignore[index]
    with Image.open("sheets/augmented.png") as sheet:
        pixels = np.asarray(sheet.convert("L"), np.float32)
    row = pixels[60:150]  # the first photo and its nine views side by side
    means = [row[:, 20 + 120 * column : 120 + 120 * column].mean() for column in range(10)]
    assert np.ptp(means) > 30
