"""The one preparation: upright, on white, RGB, to size; and a photo's facts. Refusals: test_damaged."""

from __future__ import annotations

import struct
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from tests.helpers.damaged import png
from tests.helpers.oriented_photos import UPRIGHT, encoded, exif, photo, turned
from tledge.config import Data
from tledge.data import prepare as data_prepare
from tledge.errors import DataError, MissingError
from tledge.preprocessing.image import FORMATS, HEIC_BRANDS, ImageFacts, preprocess, preprocess_with_facts

Pixels = NDArray[np.uint8]


def only_color(data: bytes) -> list[int]:
    """The one colour of an image."""
    pixels = preprocess(data, (8, 8)).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return [int(value) for value in pixels[0]]


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_turned_photo_equals_upright(orientation: int) -> None:
    stored = preprocess(encoded(photo(), "JPEG"), (24, 40))
    twin = encoded(np.ascontiguousarray(UPRIGHT[orientation](stored)))
    for size in ((24, 40), (40, 24), (16, 16)):
        assert np.array_equal(preprocess(turned(orientation), size), preprocess(twin, size))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 100, "subsampling": 0}, 6),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 6),
    ],
)
def test_every_format_turns_once(
    orientation: int, kind: str, options: dict[str, Any], tolerance: int
) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    data = encoded(photo(), kind, exif=exif(orientation), **options)
    upright = UPRIGHT[orientation](photo())
    height, width = upright.shape[:2]
    found, facts = preprocess_with_facts(data, (height, width))
    assert np.abs(found.astype(int) - upright).max() <= tolerance
    assert np.abs(found.astype(int) - upright[::-1]).max() > 100
    assert facts == ImageFacts(kind, "RGB", width, height, orientation, len(data))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_turned_photo_in_a_folder(orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "cache"))
    for name, data in {
        "turned": encoded(photo(), exif=exif(orientation)),
        "upright": encoded(np.ascontiguousarray(UPRIGHT[orientation](photo()))),
    }.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a photo.png").write_bytes(data)
    made = data_prepare.prepare_dataset(Data(source=f"folder:{tmp_path / 'photos'}"), 16)
    assert [row.label for row in made.rows] == ["turned", "upright"]
    assert np.array_equal(made.images()[0], made.images()[1])
    assert np.array_equal(made.images()[0], preprocess(tmp_path / "photos/turned/a photo.png", (16, 16)))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_ignored(orientation: int) -> None:
    assert np.array_equal(preprocess(turned(orientation), (24, 40)), preprocess(turned(1), (24, 40)))
    assert preprocess_with_facts(turned(orientation), (8, 8))[1].orientation == 1


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
    found = preprocess(encoded(Image.fromarray(grey)), grey.shape)
    assert np.array_equal(found, np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white() -> None:
    assert only_color(encoded(Image.new("1", (8, 8), 1))) == [255, 255, 255]


def near(data: bytes, color: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.array(only_color(data)) - color).max() <= 3)


def cmyk(color: tuple[int, int, int, int]) -> bytes:
    """A CMYK JPEG as Adobe's programs write it: inverted, with their marker."""
    return encoded(Image.new("CMYK", (8, 8), color), "JPEG", quality=100)


def test_cmyk_becomes_rgb() -> None:
    red = (0, 255, 255, 0)
    assert b"Adobe" in cmyk(red)
    assert near(cmyk(red), (255, 0, 0))
    assert near(encoded(Image.new("CMYK", (8, 8), red), "TIFF"), (255, 0, 0))
    assert preprocess_with_facts(cmyk(red), (8, 8))[1].mode == "CMYK"


def test_plain_cmyk_is_read_alike() -> None:
    """Without Adobe's marker too the inks are stored inverted."""
    data = cmyk((0, 255, 255, 0))
    at = data.index(b"\xff\xee")
    assert near(data[:at] + data[at + 16 :], (255, 0, 0))


def test_ycck_becomes_rgb() -> None:
    """YCCK is YCbCr of the inverted inks; cyan's, 179 171 1, stands for red."""
    data = cmyk((255 - 179, 255 - 171, 255 - 1, 0))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    assert near(data[:transform] + b"\2" + data[transform + 1 :], (255, 0, 0))
    assert not near(data, (255, 0, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(kind: str) -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    data = encoded(Image.fromarray(grey * 257), kind)
    found, facts = preprocess_with_facts(data, (16, 16))
    assert np.array_equal(found, np.repeat(grey[..., None], 3, axis=2))
    assert facts.mode == "L;16"


def test_sixteen_bit_colour() -> None:
    row = b"\0" + struct.pack(">3H", 0x8000, 0x40FF, 0xFFFF) * 8
    assert only_color(png(8, 8, row * 8, depth=16)) == [0x80, 0x40, 0xFF]


def test_sixteen_bits_of_either_byte_order() -> None:
    big = Image.frombytes("I;16B", (8, 8), b"\x80\x80" * 64)
    assert only_color(encoded(big, "TIFF")) == [128, 128, 128]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_first_frame(kind: str) -> None:
    first, second = (Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255)))
    moving = encoded(first, kind, save_all=True, append_images=[second])
    with Image.open(BytesIO(moving)) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert near(moving, (255, 0, 0))


def test_multi_picture_jpeg_is_jpeg() -> None:
    """What phones save with a depth map or a second view; Pillow calls it MPO."""
    assert "MPO" not in FORMATS
    second = Image.fromarray(photo(seed=3))
    data = encoded(photo(), "MPO", save_all=True, append_images=[second], exif=exif(6))
    with Image.open(BytesIO(data)) as image:
        assert image.format == "MPO"
    found, facts = preprocess_with_facts(data, (40, 24))
    assert np.array_equal(found, preprocess(turned(6), (40, 24)))
    assert facts == ImageFacts("JPEG", "RGB", 24, 40, 6, len(data))
    with pytest.raises(DataError, match="truncated"):
        preprocess(data[: len(data) // 3], (8, 8))


def test_progressive_equals_baseline() -> None:
    assert np.array_equal(
        preprocess(encoded(photo(), "JPEG", progressive=True), (24, 40)),
        preprocess(encoded(photo(), "JPEG"), (24, 40)),
    )


@pytest.mark.parametrize(
    "profile", [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"x"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_color_profile_is_ignored(kind: str, profile: bytes) -> None:
    tagged = encoded(photo(), kind, icc_profile=profile)
    assert np.array_equal(preprocess(tagged, (8, 8)), preprocess(encoded(photo(), kind), (8, 8)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1)])
def test_thin_photos(shape: tuple[int, int]) -> None:
    data = encoded(np.full((*shape, 3), 77, np.uint8))
    found, facts = preprocess_with_facts(data, (8, 8))
    assert np.array_equal(found, np.full((8, 8, 3), 77))
    assert (facts.height, facts.width) == shape


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "CMYK", "LAB", "F"])
def test_facts_know_the_mode(mode: str) -> None:
    kind = "TIFF" if mode in ("CMYK", "LAB", "F", "PA") else "PNG"
    data = encoded(Image.new(mode, (6, 5), 0xFFFF if mode == "I;16" else 0), kind)
    found, facts = preprocess_with_facts(data, (4, 4))
    assert facts == ImageFacts(kind, {"I;16": "L;16", "F": "L;32F"}.get(mode, mode), 6, 5, 1, len(data))
    assert np.array_equal(found, preprocess(data, (4, 4)))


def test_right_size_stays_exact() -> None:
    found = preprocess(encoded(photo()), (24, 40))
    assert found.dtype == np.uint8
    assert np.array_equal(found, photo())


@pytest.mark.parametrize("size", [(12, 20), (7, 5), (48, 80), (24, 20)])
def test_resize_equals_pillow_bilinear(size: tuple[int, int]) -> None:
    wanted = Image.fromarray(photo()).resize(size[::-1], Image.Resampling.BILINEAR)
    found = preprocess(encoded(photo()), size)
    assert found.shape == (*size, 3)
    assert np.array_equal(found, np.asarray(wanted))


def test_bytes_path_array_agree(tmp_path: Path) -> None:
    data = encoded(photo())
    path = tmp_path / "ein schönes Foto – 写真 (1).png"
    path.write_bytes(data)
    for source in (data, path):
        assert np.array_equal(preprocess(source, (16, 16)), preprocess(photo(), (16, 16)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty, expected a photo"),
        (encoded(photo(), "JPEG")[:-300], "damaged, truncated"),
    ],
    ids=["empty", "cut-jpeg"],
)
def test_unusable_photo_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"bad\.jpg: .*{message}"):
        preprocess(path, (8, 8))
    with pytest.raises(DataError, match=rf"^{len(data)} bytes: .*{message}"):
        preprocess(data, (8, 8))


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_huge_photo_says_shrink(side: int) -> None:
    with pytest.raises(DataError, match=rf"too large, {side}x{side} pixels.*smaller copy"):
        preprocess(png(side, side), (8, 8))


def test_missing_path_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        preprocess(tmp_path / "nothing.jpg", (8, 8))


def prepared_or_refused(data: bytes) -> bool:
    """True for pixels, False for DataError; anything else is raised."""
    try:
        return preprocess(data, (8, 8)).shape == (8, 8, 3)
    except DataError:
        return False


def test_damaged_exif_never_crashes() -> None:
    whole = turned(6, "a description")
    start, end = whole.index(b"Exif\0\0"), whole.index(b"a description")
    for place in range(start, end):
        for value in (0, 1, 2, 4, 5, 7, 10, 150, 255):
            prepared_or_refused(whole[:place] + bytes([value]) + whole[place + 1 :])
    assert prepared_or_refused(whole)


def heic(image: Image.Image | Pixels, **options: Any) -> bytes:
    """A lossless HEIC; EXIF given as bytes turns the stored picture, as phones do it."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encoded(image, "HEIF", quality=-1, chroma=444, **options)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_heic_turns_once(orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(photo(), exif=exif(orientation).tobytes())
    monkeypatch.delitem(Image.OPEN, "HEIF")  # so that decoding has to register the plugin
    upright = UPRIGHT[orientation](photo())
    height, width = upright.shape[:2]
    found, facts = preprocess_with_facts(data, (height, width))
    assert np.abs(found.astype(int) - upright).max() <= 3
    assert facts == ImageFacts("HEIF", "RGB", width, height, orientation, len(data))


def test_heic_follows_its_own_turn() -> None:
    """The container says how the picture lies; EXIF beside it is a remark (ISO/IEC 23008-12)."""
    data = heic(photo(), exif=exif(6))
    assert b"irot" not in data
    found, facts = preprocess_with_facts(data, (24, 40))
    assert np.abs(found.astype(int) - photo()).max() <= 3
    assert (facts.width, facts.height) == (40, 24)


def test_heic_alpha_on_white() -> None:
    assert near(heic(Image.new("RGBA", (64, 64), (0, 100, 200, 51))), (204, 224, 244))


def test_huge_heic_says_shrink() -> None:
    data = heic(photo(64, 64))
    at = data.index(b"ispe") + 8
    data = data[:at] + struct.pack(">II", 30_000, 30_000) + data[at + 8 :]
    with pytest.raises(DataError, match="too large, 30000x30000"):
        preprocess(data, (8, 8))


@pytest.mark.parametrize("brand", HEIC_BRANDS)
def test_heic_without_its_library(brand: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, b"mif1") + bytes(100)
    with pytest.raises(
        MissingError, match=r"^120 bytes: a HEIC photo; pip install 'tledge\[heic\]', or export"
    ):
        preprocess(data, (8, 8))


def test_video_needs_no_heic_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match="looks like a video"):
        preprocess(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", (8, 8))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_avif_needs_no_heic_library(brand: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = encoded(photo(), "AVIF")
    assert data[8:12] == b"avif" and b"avif" in data[16:40]
    found, facts = preprocess_with_facts(data[:8] + brand + data[12:], (24, 40))
    assert facts.format == "AVIF"
    assert np.array_equal(found, preprocess(data, (24, 40)))
