"""The sheet of augmented photos shows the changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command_line import Cli
from tests.helpers.inspected_folders import RECIPE, encoded, report, scene


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of two labels, each of another scene, and a recipe for them."""
    monkeypatch.chdir(tmp_path)
    for number in range(36):
        split, label = ("test" if number % 6 == 0 else "train"), ("cat", "dog")[number % 2]
        place = tmp_path / "photos" / split / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:02d}.jpg").write_bytes(encoded(scene(number)))
    (place.parents[1] / "test" / "dog").mkdir(exist_ok=True)
    (place.parents[1] / "test" / "dog" / "99.jpg").write_bytes(encoded(scene(99)))
    (tmp_path / "pets.toml").write_text(RECIPE.format(folder=tmp_path / "photos"))
    return tmp_path / "photos"


def test_augmented_sheet_shows_changes(folder: Path, cli: Cli) -> None:
    found = report(cli, "--set", "augment.brightness=0.5", "--out", "sheets")
    assert found["sheets"][-1] == "sheets/augmented.png"  # type: ignore[index]
    with Image.open("sheets/augmented.png") as sheet:
        pixels = np.asarray(sheet.convert("L"), np.float32)
    row = pixels[60:150]  # the first photo and its nine views side by side
    means = [row[:, 20 + 120 * column : 120 + 120 * column].mean() for column in range(10)]
    assert np.ptp(means) > 30
