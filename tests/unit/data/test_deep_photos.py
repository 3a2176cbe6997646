"""Photos deeper than 8 bits in a cache: the recipe's range, its key, and caches older than the rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.deep_images import png16, tiff, tiff_grey
from tests.helpers.photo_folders import data_of
from tledge.config import Data
from tledge.data import cache_index, prepare
from tledge.errors import DataError
from tledge.preprocessing import image
from tledge.progress import Silent

pytestmark = pytest.mark.usefixtures("cache_root")

SIDE = 16
RANGE = (0.0, 4095.0)


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of 12 bits in 16, in three kinds of files."""
    values = np.linspace(0, 4095, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    for label, shift in (("cat", 0), ("dog", 5)):
        place = tmp_path / "photos" / label
        place.mkdir(parents=True)
        moved = np.roll(values, shift)
        (place / "a.png").write_bytes(png16(moved))
        (place / "b.tif").write_bytes(tiff_grey(moved))
        (place / "c.tif").write_bytes(tiff(np.stack([moved] * 3, 2), big=True))
    return tmp_path / "photos"


def test_unknown_range_stops_with_the_key_to_set(folder: Path) -> None:
    with pytest.raises(DataError, match=r"6 of 6 photos cannot be used\. Set \[data\] pixel_range") as caught:
        prepare.prepare_dataset(data_of(folder), SIDE)
    assert "pixel_range = [0, 4095]" in str(caught.value) and "on_bad" not in str(caught.value)


@pytest.mark.parametrize("cache", [True, False])
def test_range_of_the_recipe_prepares_all_alike(folder: Path, cache: bool) -> None:
    made = prepare.prepare_dataset(replace(data_of(folder), pixel_range=RANGE, cache=cache), SIDE)
    images = made.images()[np.arange(6)]
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[1], images[2])
    assert {row.mode for row in made.rows} == {"L;16", "RGB;16"} and len(np.unique(images)) == 256
    assert not any(row.original for row in made.rows), "devices do not know the range"


def test_key_changes_with_the_range_alone(folder: Path) -> None:
    def key(data: Data) -> str:
        return prepare.prepare_dataset(data, SIDE).folder.name

    data = replace(data_of(folder), pixel_range=RANGE)
    assert key(data) == key(data) != key(replace(data, pixel_range=(0.0, 65535.0)))


@pytest.mark.parametrize("mode", ["I", "F", "I;16B"])
def test_cache_from_before_the_rule_is_made_again(
    folder: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, heard = replace(data_of(folder), pixel_range=RANGE), Heard()
    real = image.preprocess_with_facts
    with monkeypatch.context() as patched:
        patched.setattr(
            image,
            "preprocess_with_facts",
            lambda *arguments: (real(*arguments)[0], replace(real(*arguments)[1], mode=mode)),
        )
        prepare.prepare_dataset(data, SIDE)
    made = prepare.prepare_dataset(data, SIDE, heard)
    assert "by another rule" in heard.lines[0] and mode not in {row.mode for row in made.rows}


def test_index_without_a_range_is_as_before(folder: Path) -> None:
    made = prepare.prepare_dataset(replace(data_of(folder), pixel_range=RANGE), SIDE)
    header, rows = cache_index.read(made.folder / "index.json")
    assert header.pixel_range == RANGE and len(rows) == 6
    cache_index.write(made.folder / "other", replace(header, pixel_range=()), [])
    assert b"pixel_range" not in (made.folder / "other").read_bytes()
