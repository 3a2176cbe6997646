"""What `tledge data` tells about photos: counts, sizes, and doubled or misfiled photos by name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

from tests.helpers import fake_data
import numpy as np
import pytest
from tests.helpers.command_line import Cli, Done
from PIL import Image

RECIPE = """
[data]
source = "folder:{folder}"
[data.splits]
validation = {{ from = "train", fraction = 0.2 }}
[model]
backbone = "tiny"
weights = "none"
image_size = 64
[[stage]]
"""


def scene(seed: int) -> Image.Image:
    """A picture unlike all others: soft random colours, weaker where they are finer, as in photos."""
    rng = np.random.default_rng(seed)
    made = np.zeros((120, 160, 3))
    for cells, strength in ((4, 1.0), (12, 0.4), (30, 0.15)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        made += strength * (np.asarray(noise.resize((160, 120), Image.Resampling.BICUBIC), float) - 128)
    return Image.fromarray((128 + made).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, quality: int = 92, orientation: int = 0) -> bytes:
    out = io.BytesIO()
    tags = Image.Exif()
    if orientation:
        tags[0x0112] = orientation
    image.save(out, "JPEG", quality=quality, exif=tags)
    return out.getvalue()


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


def report(cli: Cli, *options: str) -> dict[str, object]:
    done = cli("data", "pets.toml", "--json", "--quiet", *options)
    assert done.code == 0, done.err
    found: dict[str, object] = json.loads(done.out)
    return found


def pairs(found: dict[str, object]) -> dict[frozenset[str], str]:
    """Kind by the two file names."""
    listed = found["duplicates"]
    assert isinstance(listed, list)
    return {frozenset((one["first"], one["second"])): one["kind"] for one in listed}


def test_clean_folder_reports_none(folder: Path, cli: Cli) -> None:
    found = report(cli)
    assert found["duplicates"] == [] and found["skipped"] == [] and found["photos"] == 37
    assert found["median"] == [160, 120] and found["formats"] == {"JPEG": 37}
    assert found["imbalance"] < 1.5  # type: ignore[operator]


def plant(
    folder: Path, cat: str, cat_2: str, dog: str, dog_2: str, test: tuple[str, str]
) -> dict[frozenset[str], str]:
    """Plant doubles of four train photos of two labels; gives what must be reported."""
    labels = cat.split("/")[1], dog.split("/")[1]
    copy, saved = f"train/{labels[1]}/a copy.jpg", f"{test[0]}/saved again.jpg"
    turned, lost = f"{test[1]}/turned by EXIF.jpg", f"{test[1]}/tag lost.jpg"
    (folder / copy).write_bytes((folder / cat).read_bytes())  # the same bytes in two classes
    small = Image.open(folder / cat_2)
    small = small.resize((small.width * 3 // 4, small.height * 3 // 4))
    (folder / saved).write_bytes(encoded(small, quality=75))
    lying = Image.open(folder / dog).transpose(Image.Transpose.ROTATE_90)  # EXIF 6 turns it back
    (folder / turned).write_bytes(encoded(lying, orientation=6))
    (folder / lost).write_bytes(encoded(Image.open(folder / dog_2).transpose(Image.Transpose.ROTATE_90)))
    return {
        frozenset((cat, copy)): "same bytes",
        frozenset((cat_2, saved)): "same picture",
        frozenset((dog, turned)): "same picture",
        frozenset((dog_2, lost)): "turned or mirrored",
    }


def test_planted_duplicates_are_named(folder: Path, cli: Cli) -> None:
    names = ("train/cat/02.jpg", "train/cat/04.jpg", "train/dog/01.jpg", "train/dog/03.jpg")
    planted = plant(folder, *names, ("test/cat", "test/dog"))
    assert pairs(report(cli)) == planted


@pytest.mark.realdata
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
        RECIPE.format(folder=tmp_path / "photos")
        .replace("[data.splits]", '[data.splits]\ntest = "validation"')
        .replace("= 64", "= 224")
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
    assert "1 photos are smaller than the model's input, such as train/cat/tiny.png" in done.out
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


@pytest.mark.slow
def test_augmented_sheet_shows_changes(folder: Path, cli: Cli) -> None:
    found = report(cli, "--set", "augment.brightness=0.5", "--out", "sheets")
    assert found["sheets"][-1] == "sheets/augmented.png"  # type: ignore[index]
    with Image.open("sheets/augmented.png") as sheet:
        pixels = np.asarray(sheet.convert("L"), np.float32)
    row = pixels[60:150]  # the first photo and its nine views side by side
    means = [row[:, 20 + 120 * column : 120 + 120 * column].mean() for column in range(10)]
    assert np.ptp(means) > 30


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
