"""Pixels deeper than 8 bits: one rule for all kinds of files, and a sentence where the range is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.deep_images import png16, tiff, tiff_grey
from tledge.errors import DataError
from tledge.preprocessing.image import preprocess, preprocess_with_facts

SIZE = (12, 10)
FULL = np.linspace(0, 65535, 120).astype(np.uint16).reshape(SIZE)
TWELVE = FULL >> 4
RGB = np.stack([FULL, FULL[::-1], FULL[:, ::-1]], 2)
RGBA = np.concatenate([RGB, np.full((*SIZE, 1), 65535, np.uint16)], 2)


def grey(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.repeat(pixels.astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize(
    ("encoded", "mode"),
    [
        (png16(FULL), "L;16"),
        (tiff_grey(FULL), "L;16"),
        (tiff_grey(FULL, "tiff_lzw"), "L;16"),
        (tiff(FULL, big=True), "L;16"),
    ],
)
def test_sixteen_bits_are_shifted(encoded: bytes, mode: str) -> None:
    pixels, facts = preprocess_with_facts(encoded, SIZE)
    assert np.array_equal(pixels, grey(FULL >> 8)) and facts.mode == mode


@pytest.mark.parametrize(
    ("encoded", "mode"),
    [
        (png16(RGB), "RGB;16"),
        (tiff(RGB), "RGB;16"),
        (tiff(RGB, big=True), "RGB;16"),
        (png16(RGBA), "RGBA;16"),
    ],
)
def test_colour_of_sixteen_bits_is_shifted_too(encoded: bytes, mode: str) -> None:
    pixels, facts = preprocess_with_facts(encoded, SIZE)
    assert np.array_equal(pixels, RGB >> 8) and facts.mode == mode


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_floats_from_0_to_1_are_stretched(compression: str | None) -> None:
    shares = np.linspace(0, 1, 120, dtype=np.float32).reshape(SIZE)
    assert np.array_equal(preprocess(tiff_grey(shares, compression), SIZE), grey(np.round(shares * 255)))


def test_white_that_is_0_is_white() -> None:
    assert np.array_equal(preprocess(tiff(FULL, white_is_0=True), SIZE), grey(255 - (FULL >> 8)))


@pytest.mark.parametrize(
    ("encoded", "seen"),
    [
        (png16(TWELVE), r"16-bit pixels from 0 to 4095.*\[0, 4095\]"),
        (tiff_grey(TWELVE), r"16-bit pixels from 0 to 4095.*\[0, 4095\]"),
        (tiff(FULL >> 6), r"16-bit pixels from 0 to 1023.*\[0, 1023\]"),
        (tiff(FULL >> 2), r"16-bit pixels from 0 to 16383.*\[0, 16383\]"),
        (png16(FULL * 0), r"16-bit pixels from 0 to 0.*\[0, 255\]"),
        (tiff_grey(FULL.astype(np.int32)), r"32-bit or signed pixels from 0 to 65535.*\[0, 65535\]"),
        (tiff_grey(FULL.astype(np.int32) * 3), r"32-bit or signed .*\[0, 196605\]"),
        (tiff(FULL.astype(np.int32) - 1000, signed=True), "32-bit or signed pixels from -"),
        (tiff_grey(FULL.astype(np.float32)), r"floating-point pixels from 0 to 65535.*\[0, 65535\]"),
        (
            tiff_grey(FULL.astype(np.float32) / 65535 - 0.5),
            r"floating-point pixels from -0\.5 to 0\.5.*\[-1, 1\]",
        ),
        (png16(RGB >> 4), r"16-bit pixels that leave upper bits unused.*\[0, 4095\]"),
        (tiff(RGB >> 4), r"16-bit pixels that leave upper bits unused.*\[0, 4095\]"),
        (tiff(RGB >> 2, big=True), r"16-bit pixels that leave upper bits unused.*\[0, 16383\]"),
        (png16(RGBA >> 4), r"16-bit pixels that leave upper bits unused"),
    ],
)
def test_unknown_range_is_refused(encoded: bytes, seen: str) -> None:
    with pytest.raises(DataError, match=seen) as caught:
        preprocess(encoded, SIZE)
    assert "Set [data] pixel_range = [" in str(caught.value) and "8 bits" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_numbers_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="not numbers"):
        preprocess(tiff_grey(np.full(SIZE, value, np.float32)), SIZE, (0, 1))


@pytest.mark.parametrize(
    "encoded",
    [
        png16(TWELVE),
        tiff(TWELVE, big=True),
        tiff_grey(TWELVE, "tiff_lzw"),
        tiff_grey(TWELVE.astype(np.int32)),
        tiff_grey(TWELVE.astype(np.float32), "tiff_adobe_deflate"),
        tiff(TWELVE.astype(np.int32), signed=True),
    ],
)
def test_range_of_the_recipe_counts_in_every_kind(encoded: bytes) -> None:
    expected = np.floor(TWELVE / 4095 * 255 + 0.5)
    assert np.array_equal(preprocess(encoded, SIZE, (0, 4095)), grey(expected))


@pytest.mark.parametrize("encoded", [png16(RGB >> 4), tiff(RGB >> 4), tiff(RGB >> 4, big=True)])
def test_range_of_the_recipe_counts_in_colour(encoded: bytes) -> None:
    assert np.array_equal(preprocess(encoded, SIZE, (0, 4095)), np.floor((RGB >> 4) / 4095 * 255 + 0.5))


def test_values_beyond_the_range_are_clipped() -> None:
    pixels = preprocess(tiff_grey(TWELVE.astype(np.int32)), SIZE, (1000, 2000))
    assert pixels[0, 0, 0] == 0 and pixels[-1, -1, 0] == 255 and len(np.unique(pixels)) > 20


def test_range_does_not_touch_8_bits() -> None:
    encoded = tiff_grey((FULL >> 8).astype(np.uint8))
    assert np.array_equal(preprocess(encoded, SIZE, (0, 4095)), preprocess(encoded, SIZE))


def test_range_of_transparent_colour_is_refused() -> None:
    with pytest.raises(DataError, match="without transparency"):
        preprocess(png16(RGBA), SIZE, (0, 4095))


def test_transparent_value_of_16_bits_becomes_white() -> None:
    from tests.helpers.damaged import chunk

    encoded = png16(FULL)
    place = encoded.index(b"IDAT") - 4
    value = int(FULL[3, 3])
    transparent = encoded[:place] + chunk(b"tRNS", value.to_bytes(2, "big")) + encoded[place:]
    expected = FULL >> 8
    expected[3, 3] = 255
    assert np.array_equal(preprocess(transparent, SIZE), grey(expected))
