"""Duplicates: photos that were copied, saved again, turned or mirrored, and none that only look alike."""

from __future__ import annotations

import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import all_pairs
from tests.helpers.twins import SAVED_AGAIN, TURNED, Pixels, halved, jpeg, noisy, scenes, twins
from tledge._io import files
from tledge.data import duplicates, saved_again
from tledge.data.cache import Prepared
from tledge.data.cache_index import Row
from tledge.data.duplicates import DuplicatePair
from tledge.preprocessing.image import preprocess

Rows = NDArray[np.int64]


def photo(seed: int, size: tuple[int, int] = (300, 220)) -> Image.Image:
    """A picture with soft areas, edges and texture, (width, height) pixels."""
    rng = np.random.default_rng(seed)
    made = np.zeros((size[1], size[0], 3))
    for cells, weight in ((4, 0.55), (18, 0.3), (90, 0.15)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        made += weight * np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray(made.astype(np.uint8))


def of_pixels(images: Pixels) -> list[DuplicatePair]:
    """Twins of images whose files all differ."""
    return duplicates.find_duplicates(images, [str(number) for number in range(len(images))])


def test_same_bytes_are_twins() -> None:
    first, other = jpeg(photo(1)), jpeg(photo(2))
    assert twins(other, first, first) == [DuplicatePair(1, 2, "same bytes")]


@pytest.mark.parametrize("size", [48, 96, 100, 128, 224, 299])
def test_saved_again_is_twin(size: int) -> None:
    image = photo(1)
    photos = [jpeg(photo(2)), jpeg(image), jpeg(image, 75), jpeg(halved(image), 75)]
    assert twins(*photos, size=size) == [DuplicatePair(1, 2, SAVED_AGAIN), DuplicatePair(1, 3, SAVED_AGAIN)]


def test_other_format_is_twin() -> None:
    out = BytesIO()
    photo(1).save(out, "WEBP", quality=60)
    assert twins(jpeg(photo(1)), out.getvalue()) == [DuplicatePair(0, 1, SAVED_AGAIN)]


def test_turned_pixels_with_undoing_tag() -> None:
    turned = photo(1).transpose(Image.Transpose.ROTATE_90)
    assert twins(jpeg(photo(1)), jpeg(turned, 75, orientation=6)) == [DuplicatePair(0, 1, SAVED_AGAIN)]


@pytest.mark.parametrize("size", [96, 100, 224, 299])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_other_tag_is_turned(orientation: int, size: int) -> None:
    first, second = jpeg(photo(1)), jpeg(halved(photo(1)), 75, orientation)
    assert twins(first, second, size=size) == [DuplicatePair(0, 1, TURNED)]


def test_mirrored_is_twin() -> None:
    mirrored = photo(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert twins(jpeg(photo(1)), jpeg(mirrored, 80)) == [DuplicatePair(0, 1, TURNED)]


def test_turned_in_oblong_images() -> None:
    image = preprocess(jpeg(photo(1)), (96, 128))
    turned = preprocess(jpeg(photo(1).transpose(Image.Transpose.ROTATE_90)), (96, 128))
    assert of_pixels(np.stack([image, turned])) == [DuplicatePair(0, 1, TURNED)]


def test_symmetric_picture_is_not_turned() -> None:
    half = np.asarray(photo(1))
    image = Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1))
    assert twins(jpeg(image), jpeg(image, 75)) == [DuplicatePair(0, 1, SAVED_AGAIN)]


def test_different_photos_are_no_twins() -> None:
    assert twins(*(jpeg(photo(seed)) for seed in range(40))) == []
    assert of_pixels(scenes(300)) == []


def test_same_composition_is_no_twin() -> None:
    """Equal at 16 x 16, different in what is drawn there."""
    soft = np.asarray(photo(1, (128, 128)), float)
    grain = np.random.default_rng(0).normal(0, 15, (2, 16, 4, 16, 4, 3))
    grain -= grain.mean((2, 4), keepdims=True)
    both = soft + grain.reshape(2, 64, 64, 3).repeat(2, 1).repeat(2, 2)
    assert of_pixels(both.clip(0, 255).astype(np.uint8)) == []


def test_low_contrast_photos_stay_apart() -> None:
    calm = (scenes(60) * 0.1 + 100).astype(np.uint8)
    assert of_pixels(calm) == []


def test_faint_photos_stay_apart() -> None:
    """Patches that differ by 4 levels RMS, which two photos saved again may."""
    assert of_pixels((scenes(40, 64) * 0.04 + 100).astype(np.uint8)) == []


def test_plain_colours_stay_apart() -> None:
    levels = np.arange(20, 240, 4, dtype=np.uint8)
    assert of_pixels(np.broadcast_to(levels[:, None, None, None], (len(levels), 64, 64, 3))) == []


def test_equal_plain_pictures_are_twins() -> None:
    plain = np.full((3, 64, 64, 3), 120, np.uint8)
    plain[2] += 1
    assert of_pixels(plain)[0] == DuplicatePair(0, 1, SAVED_AGAIN)


def moved(pixels: int) -> Pixels:
    """A still room with one thing, `pixels` to the right of where it is at 0."""
    room = np.asarray(photo(3, (128, 128))).copy()
    room[40:90, 30 + pixels : 70 + pixels] = np.asarray(photo(4, (40, 50)))
    return room


def test_frames_with_motion_are_no_twins() -> None:
    assert of_pixels(np.stack([moved(pixels) for pixels in (0, 1, 4, 8)])) == []


def test_still_frames_are_twins() -> None:
    film = noisy(np.stack([moved(0)] * 3), 3)
    assert of_pixels(film) == [DuplicatePair(0, 1, SAVED_AGAIN), DuplicatePair(0, 2, SAVED_AGAIN)]


def test_cluster_gives_pairs_to_first() -> None:
    found = of_pixels(noisy(scenes(2)[[0] * 300 + [1] * 200], 2))
    assert found == [
        DuplicatePair(0 if row < 300 else 300, row, SAVED_AGAIN) for row in range(1, 500) if row != 300
    ]


def test_each_image_repeats_one() -> None:
    """Same bytes go before same pixels, and a copy is compared through its first."""
    first, again = jpeg(photo(1)), jpeg(photo(1), 75)
    assert twins(first, again, first, again) == [
        DuplicatePair(0, 1, SAVED_AGAIN),
        DuplicatePair(0, 2, "same bytes"),
        DuplicatePair(1, 3, "same bytes"),
    ]


def test_rows_count_copies_too() -> None:
    first, again = jpeg(photo(1)), jpeg(photo(1), 75)
    other = jpeg(photo(2))
    assert twins(other, other, first, again)[1:] == [DuplicatePair(2, 3, SAVED_AGAIN)]


def test_twins_across_blocks() -> None:
    photos = scenes(300)
    found = of_pixels(np.concatenate([photos, noisy(photos, 3)[:, ::-1]]))
    assert found == [DuplicatePair(number, number + 300, TURNED) for number in range(300)]


def test_twins_of_mapped_images(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", scenes(4)[[0, 1, 0, 2]])
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert of_pixels(mapped) == [DuplicatePair(0, 2, SAVED_AGAIN)]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_for_twins(count: int) -> None:
    assert of_pixels(scenes(3)[:count]) == []


@pytest.mark.parametrize("stage", ["COARSE", "FINE"])
def test_no_tolerance_finds_no_twin(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = replace(getattr(saved_again, stage), least=0.0, most=0.0)
    monkeypatch.setattr(saved_again, stage, strict)
    assert twins(jpeg(photo(1)), jpeg(photo(1), 75)) == []


def test_pairs_are_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second command reads the pairs that the first one found among the same rows."""
    images = scenes(5)[[0, 1, 0, 2, 3, 4]]
    np.save(tmp_path / "images.npy", images)
    rows = tuple(Row(str(number), "cat", "train", str(number)) for number in range(6))
    prepared = Prepared(tmp_path, ("cat",), rows, ())
    announced: list[str] = []
    searches = [
        duplicates.duplicates_of(prepared, chosen, lambda: announced.append("search"))
        for chosen in (np.arange(6), np.arange(6), np.arange(1, 6), np.arange(6))
    ]
    assert searches == [[DuplicatePair(0, 2, SAVED_AGAIN)]] * 2 + [[], [DuplicatePair(0, 2, SAVED_AGAIN)]]
    assert len(announced) == 2
    for kept in tmp_path.glob("duplicates-*.json"):
        kept.write_text("[[0")
    assert duplicates.duplicates_of(prepared, np.arange(6), lambda: announced.append("again")) == searches[0]
    assert announced[-1] == "again"
    monkeypatch.setattr(duplicates, "VERSION", duplicates.VERSION + 1)
    duplicates.duplicates_of(prepared, np.arange(6), lambda: announced.append("other version"))
    assert announced[-1] == "other version"


def test_read_only_cache_is_searched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "images.npy", scenes(2)[[0, 0]])
    rows = tuple(Row(str(number), "cat", "train", str(number)) for number in range(2))
    monkeypatch.setattr(os, "access", lambda *_: False)
    prepared = Prepared(tmp_path, ("cat",), rows, ())
    assert duplicates.duplicates_of(prepared, np.arange(2), lambda: None) == [
        DuplicatePair(0, 1, SAVED_AGAIN)
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_full_disk_keeps_no_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    np.save(tmp_path / "images.npy", scenes(2)[[0, 0]])
    rows = tuple(Row(str(number), "cat", "train", str(number)) for number in range(2))
    monkeypatch.setattr(files, "write_json", refuse)
    found = duplicates.duplicates_of(Prepared(tmp_path, ("cat",), rows, ()), np.arange(2), lambda: None)
    assert found == [DuplicatePair(0, 1, SAVED_AGAIN)]


def film(frames: int, step: int, noise: float, seed: int = 0) -> Pixels:
    """What a fixed camera takes: a room, one small thing that moves by `step` pixels a frame, and noise."""
    rng = np.random.default_rng(seed)
    room = np.asarray(photo(3, (64, 64)), float)
    images = room[None].repeat(frames, axis=0)
    for number, image in enumerate(images):
        left = (number * step) % 60
        image[20:24, left : left + 4] = 255 - room[20:24, left : left + 4]
    return (images + rng.normal(0, noise, images.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("step", "noise", "tile"), [(1, 0.0, 7), (3, 4.0, 64), (0, 2.2, 7), (7, 3.0, 64)])
def test_same_pairs_as_one_by_one(
    step: int, noise: float, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that nearly all are close, some of them turned: size and evenness are near their limits."""
    monkeypatch.setattr(duplicates, "TILE", tile)
    images = film(24, step, noise)
    images[::5] = images[::5, :, ::-1]
    images[12:15] = np.rot90(images[12:15], axes=(1, 2))
    expected = [DuplicatePair(*pair) for pair in all_pairs.duplicates(images)]
    assert of_pixels(images) == expected and len(expected) < 24


def test_few_frames_are_compared_finely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a fixed camera's pairs, which all are close, the uneven ones are recognized by their parts."""
    compared = 0
    wrapped = saved_again.ImagePairs.is_saved_again

    def counting(self: saved_again.ImagePairs, first: Rows, second: Rows, turn: int) -> NDArray[np.bool_]:
        nonlocal compared
        compared += len(first)
        return wrapped(self, first, second, turn)

    monkeypatch.setattr(saved_again.ImagePairs, "is_saved_again", counting)
    assert len(of_pixels(film(60, 7, 1.0))) < 60
    assert compared < 0.2 * 60 * 59 / 2
