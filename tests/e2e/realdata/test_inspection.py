"""Doubles planted among real photos are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.inspected_folders import pairs, plant, recipe_of, report


def test_planted_doubles_of_real_photos(
    real_data: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for split, label in (
        (split, label) for split in ("train", "validation") for label in ("roses", "tulips")
    ):
        target = tmp_path / "photos" / split / label
        target.mkdir(parents=True)
        for path in sorted((real_data / "photos" / "flowers" / split / label).iterdir())[:40]:
            (target / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pets.toml").write_text(
        recipe_of(tmp_path / "photos")
        .replace("[data.splits]", '[data.splits]\ntest = "validation"')
        .replace("image_size = 64", "image_size = 224")
    )
    names = {
        label: [
            f"train/{label}/{path.name}" for path in sorted((tmp_path / "photos/train" / label).iterdir())
        ]
        for label in ("roses", "tulips")
    }
    picked = (*names["roses"][3:5], *names["tulips"][3:5])
    planted = plant(tmp_path / "photos", *picked, ("validation/roses", "validation/tulips"))
    assert pairs(report(cli)) == planted
