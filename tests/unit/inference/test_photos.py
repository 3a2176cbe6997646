"""A photo comes in any form, and what is none is said."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.oriented_photos import encoded, exif
from tledge.errors import DataError
from tledge.inference import photos
from tledge.preprocessing import image

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK", "I;16", "YCbCr"])
def test_image_of_pillow_has_the_pixels_of_its_file(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("photo.tiff" if mode in ("CMYK", "YCbCr") else "photo.png")
    grey = Image.fromarray(PIXELS).convert("L").convert("I").point(lambda value: value * 257)
    (grey if mode == "I;16" else Image.fromarray(PIXELS)).convert(mode).save(path)
    wanted = image.preprocess(path, (5, 7))
    with Image.open(path) as opened:
        assert (image.preprocess(photos.read_form(opened), (5, 7)) == wanted).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_image_of_pillow_is_turned_upright_once(kind: str, orientation: int) -> None:
    data = encoded(PIXELS, kind, exif=exif(orientation))
    pixels = photos.read_form(Image.open(BytesIO(data)))
    assert np.array_equal(pixels, image.decode(data)[0])  # type: ignore[arg-type]


class Other:
    """Pixels in an array of another library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return PIXELS


class Lazy:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("has no values yet")


@pytest.mark.parametrize(
    "form",
    [
        PIXELS, np.asfortranarray(PIXELS), PIXELS[::-1][::-1], Other(),
        PIXELS.tobytes() and Image.fromarray(PIXELS),
    ],
)  # fmt: skip
def test_pixels_come_in_any_array(form: Any) -> None:
    assert (image.preprocess(photos.read_form(form), (5, 7)) == PIXELS).all()


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_bytes_come_in_any_buffer(form: Callable[[bytes], Any]) -> None:
    assert photos.read_form(form(b"abc")) == b"abc"


def closed() -> Image.Image:
    made = Image.fromarray(PIXELS)
    made.close()
    return made


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (PIXELS / 255, r"got float64\[5, 7, 3\]. Values from 0 to 1 become pixels"),
        (PIXELS.astype(np.float32) * np.nan, "got float32"),
        (PIXELS[..., 0], r"got uint8\[5, 7\]"),
        (PIXELS[None], "predict_all several photos"),
        (np.zeros((4, 4, 4), np.uint8), "transparent"),
        (PIXELS[:0], "which is empty"),
        (np.array([]), "got float64"),
        (np.uint8(3), r"got uint8\[\]"),
        (Lazy(), "has no values yet"),
        (Image.new("RGB", (0, 4)), "0x4 pixels"),
        (closed(), "damaged or closed"),
        (open, "got builtin_function_or_method"),
    ],
)
def test_what_is_no_photo_is_said(photo: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        photos.read_form(photo)


DTYPES = st.sampled_from(["uint8", "int8", "uint16", "float32", "bool", "complex64", "U3", "O", "M8[s]"])


@settings(max_examples=50, deadline=None)
@given(DTYPES, st.lists(st.integers(0, 5), max_size=5))
def test_only_pixels_are_pixels(dtype: str, shape: list[int]) -> None:
    array = np.zeros(shape, dtype)
    if dtype == "uint8" and len(shape) == 3 and shape[2] == 3 and array.size:
        assert photos.read_form(array) is array
        return
    with pytest.raises(DataError, match=r"^pixels: expected uint8\[height, width, 3\]"):
        photos.read_form(array)
