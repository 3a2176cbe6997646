"""Ways in which devices prepare photos otherwise: each beside a worked example or another's code."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.app_variants import SIZES, noise
from tests.helpers.oriented_photos import UPRIGHT, encoded, photo, turned
from tledge.errors import DataError
from tledge.preprocessing import app_variants, image
from tledge.preprocessing.app_variants import APP_VARIANTS, UprightPhoto

Pixels = NDArray[np.uint8]


def grey(values: object) -> Pixels:
    """A grey photo of these values [h, w]."""
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def slow_bilinear(source: Pixels, size: tuple[int, int]) -> Pixels:
    """Half-pixel centres, no prefilter, pixel by pixel."""
    height, width = source.shape[:2]
    made = np.empty((*size, 3))
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = source[top, left] * (1 - x + left) + source[top, right] * (x - left)
            lower = source[below, left] * (1 - x + left) + source[below, right] * (x - left)
            made[i, j] = upper * (1 - y + top) + lower * (y - top)
    return made  # type: ignore[return-value]


@pytest.mark.parametrize("size", SIZES)
def test_reference_is_the_contract(size: tuple[int, int]) -> None:
    for data in (encoded(photo()), turned(6), turned(5)):
        made = app_variants.reference(app_variants.decode_photo(data), size)
        assert np.array_equal(made, image.preprocess(data, size))


def test_bilinear_worked_example() -> None:
    """Eight pixels to two: places 1.5 and 5.5, so the mean of two pixels and not of four."""
    row = [10, 20, 30, 50, 60, 70, 90, 255]
    made = app_variants.bilinear(UprightPhoto(grey([row])), (1, 2))
    assert made[0, :, 0].tolist() == [25, 80]
    assert image.preprocess(grey([row]), (1, 2))[0, :, 0].tolist() != [25, 80]


@pytest.mark.parametrize("size", SIZES)
def test_bilinear_is_pixel_by_pixel(size: tuple[int, int]) -> None:
    source = noise(24, 40)
    wanted = slow_bilinear(source, size)
    made = app_variants.bilinear(UprightPhoto(source), size)
    assert made.shape == (*size, 3) and np.abs(made - wanted).max() <= 0.501


@pytest.mark.parametrize("size", [(24, 40), (16, 16), (7, 9), (5, 40), (48, 80)])
def test_pillow_takes_the_same_nearest(size: tuple[int, int]) -> None:
    """Pillow sums up float steps, so it may differ where a place lies on the border of two pixels."""
    source = noise(24, 40)
    wanted = Image.fromarray(source).resize(size[::-1], Image.Resampling.NEAREST)
    assert np.array_equal(app_variants.nearest(UprightPhoto(source), size), np.asarray(wanted))


def test_nearest_worked_example() -> None:
    """Six pixels to four: places .75, 2.25, 3.75, 5.25."""
    made = app_variants.nearest(UprightPhoto(grey([[0, 1, 2, 3, 4, 5]])), (1, 4))
    assert made[0, :, 0].tolist() == [0, 2, 3, 5]


def test_area_is_mean_of_blocks() -> None:
    source = noise(12, 20)
    wanted = source.reshape(4, 3, 5, 4, 3).mean((1, 3))
    assert np.abs(app_variants.area(UprightPhoto(source), (4, 5)) - wanted).max() <= 1


def test_canvas_halves_then_interpolates() -> None:
    source = noise(32, 32)
    quarter = source.reshape(8, 4, 8, 4, 3).mean((1, 3))
    assert np.abs(app_variants.browser_canvas(UprightPhoto(source), (8, 8)) - quarter).max() <= 2
    half = source.reshape(16, 2, 16, 2, 3).mean((1, 3))
    wanted = slow_bilinear(half, (10, 12))  # type: ignore[arg-type]
    assert np.abs(app_variants.browser_canvas(UprightPhoto(source), (10, 12)) - wanted).max() <= 1.5
    upwards = app_variants.browser_canvas(UprightPhoto(source), (40, 40))
    assert np.array_equal(upwards, app_variants.bilinear(UprightPhoto(source), (40, 40)))


@pytest.mark.parametrize(
    ("shape", "rows", "columns"), [((10, 16), (0, 10), (3, 13)), ((17, 6), (5, 11), (0, 6))]
)
def test_crop_is_the_middle(shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    source = noise(*shape)
    middle = source[slice(*rows), slice(*columns)]
    side = min(shape)
    assert np.array_equal(app_variants.centre_crop(UprightPhoto(source), (side, side)), middle)
    assert np.array_equal(
        app_variants.centre_crop(UprightPhoto(source), (5, 5)), image.preprocess(middle, (5, 5))
    )


def test_blue_comes_first() -> None:
    source = np.full((6, 6, 3), (200, 100, 7), np.uint8)
    assert app_variants.channels_swapped(UprightPhoto(source), (3, 3))[0, 0].tolist() == [7, 100, 200]


def test_jpeg_is_of_the_whole_photo() -> None:
    source = photo(40, 56)
    out = io.BytesIO()
    Image.fromarray(source).save(out, "JPEG", quality=75)
    with Image.open(out) as again:
        wanted = image.preprocess(np.asarray(again), (16, 16))
    made = app_variants.jpeg_reencoded(UprightPhoto(source), (16, 16))
    assert np.array_equal(made, wanted)
    assert not np.array_equal(made, image.preprocess(source, (16, 16)))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_stored_pixels_are_found_again(orientation: int) -> None:
    """Decoded without looking at the tag, by another way than turning back."""
    data = turned(orientation)
    with Image.open(io.BytesIO(data)) as stored:
        wanted = image.preprocess(np.asarray(stored.convert("RGB")), (16, 16))
    found = app_variants.decode_photo(data)
    assert found.orientation == orientation
    assert np.array_equal(app_variants.exif_ignored(found, (16, 16)), wanted)
    assert np.array_equal(app_variants.reference(found, (16, 16)), wanted) is (orientation == 1)


@pytest.mark.parametrize("way", APP_VARIANTS, ids=lambda way: way.name)
def test_way_keeps_size_and_type(way: app_variants.AppVariant) -> None:
    for data in (encoded(noise(30, 50)), encoded(noise(9, 9)), turned(8)):
        made = way.preprocess(app_variants.decode_photo(data), (16, 16))
        assert made.shape == (16, 16, 3) and made.dtype == np.uint8


@pytest.mark.parametrize("way", APP_VARIANTS[1:], ids=lambda way: way.name)
def test_way_differs_from_the_contract(way: app_variants.AppVariant) -> None:
    photo = app_variants.decode_photo(turned(6))
    assert not np.array_equal(way.preprocess(photo, (10, 10)), app_variants.reference(photo, (10, 10)))


@pytest.mark.parametrize("way", [way for way in APP_VARIANTS if way.resizes], ids=lambda way: way.name)
def test_resizing_leaves_the_size_alone(way: app_variants.AppVariant) -> None:
    source = noise(16, 16)
    assert np.array_equal(way.preprocess(UprightPhoto(source), (16, 16)), source)


def test_damaged_photo_is_refused() -> None:
    with pytest.raises(DataError, match="damaged"):
        app_variants.decode_photo(encoded(photo(), "JPEG")[:200])
