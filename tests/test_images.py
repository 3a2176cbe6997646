"""The one preparation: upright, on white, RGB, to size; and what it refuses."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tledge.errors import DataError
from tledge.images import prepare

Pixels = NDArray[np.uint8]

ORIENTATION = 0x0112
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


def photo(height: int = 24, width: int = 40, seed: int = 0) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 10, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def turned(orientation: int, description: str = "") -> bytes:
    """A JPEG of `photo()` that says it is stored in this orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    if description:
        exif[0x010E] = description
    return encoded(photo(), "JPEG", exif=exif)


def only_color(data: bytes) -> list[int]:
    """The one colour of an image."""
    pixels = prepare(data, (8, 8)).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return [int(value) for value in pixels[0]]


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_turned_photo_equals_upright(orientation: int) -> None:
    stored = prepare(encoded(photo(), "JPEG"), (24, 40))
    twin = encoded(np.ascontiguousarray(UPRIGHT[orientation](stored)))
    for size in ((24, 40), (40, 24), (16, 16)):
        assert np.array_equal(prepare(turned(orientation), size), prepare(twin, size))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_ignored(orientation: int) -> None:
    assert np.array_equal(prepare(turned(orientation), (24, 40)), prepare(turned(1), (24, 40)))


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (0, 100, 200, 51), [204, 224, 244]),
        ("LA", (10, 0), [255, 255, 255]),
        ("LA", (0, 51), [204, 204, 204]),
    ],
)
def test_alpha_laid_on_white(mode: str, color: tuple[int, ...], expected: list[int]) -> None:
    assert only_color(encoded(Image.new(mode, (8, 8), color))) == expected


@pytest.mark.parametrize(("index", "expected"), [(0, [255, 255, 255]), (1, [9, 8, 7]), (2, [204, 204, 204])])
def test_palette_transparency_on_white(index: int, expected: list[int]) -> None:
    image = Image.new("P", (8, 8), index)
    image.putpalette([200, 0, 0, 9, 8, 7, 0, 0, 0])
    assert only_color(encoded(image, transparency=bytes([0, 255, 51]))) == expected


def test_transparent_color_on_white() -> None:
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    assert only_color(encoded(image, transparency=(1, 2, 3))) == [255, 255, 255]
    assert only_color(encoded(image, transparency=(3, 2, 1))) == [1, 2, 3]


def test_grey_fills_three_channels() -> None:
    grey = photo()[..., 0]
    found = prepare(encoded(Image.fromarray(grey)), grey.shape)
    assert np.array_equal(found, np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white() -> None:
    assert only_color(encoded(Image.new("1", (8, 8), 1))) == [255, 255, 255]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    red = only_color(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind))
    assert np.abs(np.array(red) - [255, 0, 0]).max() <= 3


def test_sixteen_bits_become_eight() -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = prepare(encoded(Image.fromarray(grey * 257)), (16, 16))
    assert np.array_equal(found, np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_of_either_byte_order() -> None:
    big = Image.frombytes("I;16B", (8, 8), b"\x80\x80" * 64)
    assert only_color(encoded(big, "TIFF")) == [128, 128, 128]


def test_animation_gives_first_frame() -> None:
    first, second = (Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255)))
    moving = encoded(first, "GIF", save_all=True, append_images=[second])
    with Image.open(BytesIO(moving)) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert only_color(moving) == [255, 0, 0]


def test_right_size_stays_exact() -> None:
    found = prepare(encoded(photo()), (24, 40))
    assert found.dtype == np.uint8
    assert np.array_equal(found, photo())


@pytest.mark.parametrize("size", [(12, 20), (7, 5), (48, 80), (24, 20)])
def test_resize_equals_pillow_bilinear(size: tuple[int, int]) -> None:
    wanted = Image.fromarray(photo()).resize(size[::-1], Image.Resampling.BILINEAR)
    found = prepare(encoded(photo()), size)
    assert found.shape == (*size, 3)
    assert np.array_equal(found, np.asarray(wanted))


def test_bytes_path_array_agree(tmp_path: Path) -> None:
    data = encoded(photo())
    path = tmp_path / "a photo.png"
    path.write_bytes(data)
    for source in (data, path):
        assert np.array_equal(prepare(source, (16, 16)), prepare(photo(), (16, 16)))


def png_header(side: int) -> bytes:
    """The start of a PNG of this size, without its pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    end = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + end


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty, expected a photo"),
        (b"dear diary, today no photo", "not an image"),
        (encoded(photo(), "JPEG")[:-300], "damaged"),
        (encoded(photo())[:-300], "damaged"),
        (encoded(photo(), "GIF")[:-300], "damaged"),
        (png_header(64), "damaged"),
    ],
    ids=["empty", "text", "cut-jpeg", "cut-png", "cut-gif", "no-pixels"],
)
def test_unusable_photo_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"bad\.jpg: .*{message}"):
        prepare(path, (8, 8))
    with pytest.raises(DataError, match=rf"^{len(data)} bytes: .*{message}"):
        prepare(data, (8, 8))


@pytest.mark.parametrize("side", [11_000, 20_000])
def test_huge_photo_says_shrink(side: int) -> None:
    with pytest.raises(DataError, match="smaller copy"):
        prepare(png_header(side), (8, 8))


def test_missing_path_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        prepare(tmp_path / "nothing.jpg", (8, 8))


def prepared_or_refused(data: bytes) -> bool:
    """True for pixels, False for DataError; anything else is raised."""
    try:
        return prepare(data, (8, 8)).shape == (8, 8, 3)
    except DataError:
        return False


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_never_crashes() -> None:
    whole = turned(6, "a description")
    start, end = whole.index(b"Exif\0\0"), whole.index(b"a description")
    for place in range(start, end):
        for value in (0, 1, 2, 4, 5, 7, 10, 150, 255):
            prepared_or_refused(whole[:place] + bytes([value]) + whole[place + 1 :])
    assert prepared_or_refused(whole)


def test_cut_photo_never_crashes() -> None:
    for whole in (turned(6), encoded(photo()), encoded(photo(), "GIF"), encoded(photo(), "BMP")):
        assert prepared_or_refused(whole)
        assert not any(prepared_or_refused(whole[:size]) for size in range(0, len(whole) // 2, 5))
