"""What `tledge data` tells about photos: counts, sizes, and doubled or misfiled photos by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import fake_data
from tests.helpers.command_line import Cli
from tests.helpers.inspected_folders import encoded, pairs, plant, report, scene, scenes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of two labels, each of another scene, and a recipe for them."""
    monkeypatch.chdir(tmp_path)
    return scenes(tmp_path)


def test_clean_folder_reports_none(folder: Path, cli: Cli) -> None:
    found = report(cli)
    assert found["duplicates"] == [] and found["skipped"] == [] and found["photos"] == 37
    assert found["median"] == [160, 120] and found["formats"] == {"JPEG": 37}
    assert found["imbalance"] < 1.5  # type: ignore[operator]


def test_planted_duplicates_are_named(folder: Path, cli: Cli) -> None:
    names = ("train/cat/02.jpg", "train/cat/04.jpg", "train/dog/01.jpg", "train/dog/03.jpg")
    planted = plant(folder, *names, ("test/cat", "test/dog"))
    assert pairs(report(cli)) == planted


def test_duplicates_are_told_in_words(folder: Path, cli: Cli) -> None:
    (folder / "test/dog/twin.jpg").write_bytes((folder / "train/cat/02.jpg").read_bytes())
    done = cli("data", "pets.toml", "--quiet")
    line = next(one for one in done.out.splitlines() if "twin.jpg" in one)
    assert "same bytes in two classes and two splits" in line
    assert "train/cat/02.jpg" in line and "(test/dog)" in line
    assert done.code == 0


def test_uneven_and_small_are_told(folder: Path, cli: Cli) -> None:
    for path in sorted((folder / "train/dog").iterdir())[3:]:
        path.unlink()
    (folder / "train/cat/tiny.png").write_bytes(fake_data.photo(1, size=(20, 200), kind="PNG"))
    done = cli("data", "pets.toml", "--quiet")
    assert "times the train photos of the smallest" in done.out
    assert re.search(
        r"1 of \d+ photos are smaller than the model's input and will be upscaled \(usually harmless\), "
        r"such as train/cat/tiny\.png",
        done.out,
    )
    assert "PNG 1" in done.out


def test_sheets_show_every_split(folder: Path, cli: Cli) -> None:
    found = report(cli, "--out", "sheets")
    assert found["sheets"] == ["sheets/train.png", "sheets/validation.png", "sheets/test.png"]
    heights = {}
    for path in map(Path, found["sheets"]):  # type: ignore[call-overload]
        with Image.open(path) as sheet:
            heights[path.stem] = sheet.height
    assert heights["train"] > heights["test"]
    assert json.loads(Path("sheets/report.json").read_text())["photos"] == 37


def test_photos_in_no_split_are_left_out(folder: Path, cli: Cli) -> None:
    """The original lies where nothing is taken from; its copies leak from train to test."""
    photo = encoded(scene(77))
    (folder / "archive" / "cat").mkdir(parents=True)
    for name in ("archive/cat/original.jpg", "train/cat/copy.jpg", "test/cat/copy.jpg"):
        (folder / name).write_bytes(photo)
    found = report(cli)
    assert found["unused"] == 1
    assert pairs(found) == {frozenset(("train/cat/copy.jpg", "test/cat/copy.jpg")): "same bytes"}


def test_label_without_test_photos_is_told(folder: Path, cli: Cli) -> None:
    for path in (folder / "test/dog").iterdir():
        path.unlink()
    assert "no photo at all in test: dog" in cli("data", "pets.toml", "--quiet").out
