"""Odd photos as files: what people and attackers have, and what has to become of each."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

from tests.helpers import damaged

PREPARED, REFUSED, EITHER = "prepared", "refused", "either"


@dataclass(frozen=True)
class OddPhoto:
    """A file and its fate; `word` stands in the reason where it is refused."""

    data: bytes
    fate: str
    word: str = ""


def formats() -> tuple[str, ...]:
    """List the formats that this Pillow writes."""
    return ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000",
            *["AVIF"] * features.check("avif"))  # fmt: skip


def sample_image(mode: str = "RGB", height: int = 24, width: int = 32) -> Image.Image:
    """Draw a colourful image in one of Pillow's modes."""
    return Image.open(BytesIO(damaged.encoded("PNG", height, width))).convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encode an image as a file."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def animated(kind: str) -> bytes:
    """Encode three frames."""
    frames = [sample_image().rotate(90 * turn) for turn in range(3)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def exif(entries: bytes, count: int = 1) -> bytes:
    """Build a JPEG with EXIF of `count` entries, written by hand."""
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4)
    return behind_start(encode(sample_image(), "JPEG"), b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)


def behind_start(jpeg: bytes, segment: bytes) -> bytes:
    """Insert a segment at the beginning of a JPEG."""
    return jpeg[:2] + segment + jpeg[2:]


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    """Build an entry of an EXIF or TIFF directory."""
    return struct.pack("<HHII", tag, kind, count, value)


def sixteen_bit_png(color: int, samples: int) -> bytes:
    """Build a PNG of 16 bits a sample, 24 x 32."""
    rows = np.random.default_rng(3).integers(0, 65536, (24, 32 * samples)).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return damaged.png(24, 32, lines, depth=16, color=color)


def with_chunk(kind: bytes, data: bytes, times: int = 1) -> bytes:
    """Insert chunks behind the header of a PNG."""
    png = encode(sample_image(), "PNG")
    return png[:33] + damaged.chunk(kind, data) * times + png[33:]


def compressed_zeros(size: int = 64 << 20) -> bytes:
    """Compress zeros, to a thousandth of their size."""
    return zlib.compress(bytes(size), 9)


def replaced(data: bytes, before: bytes, after: bytes) -> bytes:
    """Replace the first `before` of a file."""
    position = data.index(before)
    return data[:position] + after + data[position + len(before) :]


def many_scans(times: int) -> bytes:
    """Repeat the last scan of a progressive JPEG: each costs by the size of the image."""
    jpeg = encode(Image.new("RGB", (4000, 4000), (200, 30, 30)), "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * times + jpeg[-2:]


def tiles(side: int, tile_side: int, count: int) -> bytes:
    """Build a grey TIFF of `side` with tiles of `tile_side`; all `count` lie at one place."""
    table = 8 + 2 + 12 * 9 + 4
    offsets = struct.pack("<I", 8) * count
    entries = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (322, tile_side), (323, tile_side)]
    listed = b"".join(entry(tag, 4, 1, value) for tag, value in entries)
    listed += entry(324, 4, count, table if count > 1 else 8)
    listed += entry(325, 4, count, table + len(offsets) if count > 1 else tile_side * tile_side & 0xFFFFFFFF)
    head = struct.pack("<2sHIH", b"II", 42, 8, 9) + listed + bytes(4)
    return head + offsets + struct.pack("<I", tile_side * tile_side & 0xFFFFFFFF) * count + bytes(5000)


def truncated() -> dict[str, OddPhoto]:
    """Cut a photo of each format at every quarter."""
    photos = {}
    for kind in formats():
        photo = damaged.encoded(kind)
        for share in (1, 2, 3):
            photos[f"cut {kind} {share}.jpg"] = OddPhoto(photo[: len(photo) * share // 4], REFUSED)
    return photos


def damaged_photos() -> dict[str, OddPhoto]:
    """Collect the damaged photos of the tests."""
    return {name: OddPhoto(data, REFUSED, word) for name, (word, data) in damaged.files().items()}


def colours() -> dict[str, OddPhoto]:
    """Build rare colours, depths and profiles: all are photos, but where black and white are not known."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk = encode(sample_image("CMYK"), "JPEG")
    photos = {
        "cmyk by Adobe.jpg": cmyk,
        "ycck by Adobe.jpg": replaced(cmyk, b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
        "cmyk without Adobe.jpg": replaced(cmyk, b"Adobe", b"Adoba"),
        "cmyk.tif": encode(sample_image("CMYK"), "TIFF"),
        "grey16.png": sixteen_bit_png(0, 1),
        "colour16.png": sixteen_bit_png(2, 3),
        "colour16 and alpha.png": sixteen_bit_png(6, 4),
        "grey16.tif": encode(Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32) * 80), "TIFF"),
        "float from 0 to 1.tif": encode(sample_image("F").point(lambda value: value / 255), "TIFF"),
        "one bit.png": encode(sample_image("1"), "PNG"),
        "one bit.tif": encode(sample_image("1"), "TIFF", compression="group4"),
        "grey and alpha.png": encode(sample_image("LA"), "PNG"),
        "alpha.webp": encode(sample_image("RGBA"), "WEBP"),
        "alpha.png": encode(sample_image("RGBA"), "PNG"),
        "palette.png": encode(sample_image("P"), "PNG", transparency=3),
        "palette of alphas.png": encode(sample_image("P"), "PNG", transparency=bytes(range(256))),
        "palette.bmp": encode(sample_image("P"), "BMP"),
        "ycbcr.tif": encode(sample_image("YCbCr"), "TIFF"),
        "profile.jpg": encode(sample_image(), "JPEG", icc_profile=profile),
        "garbage for a profile.jpg": encode(sample_image(), "JPEG", icc_profile=b"\xff" * 5000),
        "garbage for a profile.png": encode(sample_image(), "PNG", icc_profile=b"\xff" * 5000),
        "progressive.jpg": encode(sample_image(), "JPEG", progressive=True),
        "interlaced.gif": encode(sample_image(), "GIF", interlace=1),
    }
    unknown_range = {
        "float.tif": encode(sample_image("F"), "TIFF"),
        "integers of 32 bits.tif": encode(sample_image("I"), "TIFF"),
    }
    refused = {name: OddPhoto(data, REFUSED, "pixel_range") for name, data in unknown_range.items()}
    return {name: OddPhoto(data, PREPARED) for name, data in photos.items()} | refused


def shapes() -> dict[str, OddPhoto]:
    """Build rare sizes, several images in one file, wrong file endings."""
    pages = encode(
        sample_image(), "TIFF", save_all=True, append_images=[sample_image("L"), sample_image("1")]
    )
    photos = {
        "one pixel.png": encode(sample_image("RGB", 1, 1), "PNG"),
        "one pixel.jpg": encode(sample_image("RGB", 1, 1), "JPEG"),
        "a column.png": encode(sample_image("RGB", 20_000, 1), "PNG"),
        "a row.jpg": encode(sample_image("RGB", 1, 20_000), "JPEG"),
        "a row.gif": encode(sample_image("RGB", 1, 20_000), "GIF"),
        "animated.gif": animated("GIF"),
        "animated.png": animated("PNG"),
        "animated.webp": animated("WEBP"),
        "pages.tif": pages,
        "two pictures.jpg": encode(sample_image(), "MPO", save_all=True, append_images=[sample_image("L")]),
        "a png.jpg": encode(sample_image(), "PNG"),
        "a jpeg.png": encode(sample_image(), "JPEG"),
        "a webp.heic": encode(sample_image(), "WEBP"),
        "a tiff.gif": encode(sample_image(), "TIFF"),
    }
    if features.check("avif"):
        photos["a jpeg.avif"], photos["animated.avif"] = encode(sample_image(), "JPEG"), animated("AVIF")
    return {name: OddPhoto(data, PREPARED) for name, data in photos.items()}


def metadata() -> dict[str, OddPhoto]:
    """Build EXIF and text that is garbage; where the pixels can be read, it is a photo."""
    turns = {f"orientation {value}.jpg": exif(entry(0x112, 3, 1, value)) for value in (0, 9, 65535)}
    photos = turns | {
        "orientation in words.jpg": exif(entry(0x112, 2, 4, 0x36363636)),
        "orientation thrice.jpg": exif(entry(0x112, 3, 3, 8)),
        "exif in a circle.jpg": exif(entry(0x8769, 4, 1, 8) + entry(0x8825, 4, 1, 8), 2),
        "exif without end.jpg": exif(entry(0x112, 3, 0xFFFFFFFF, 8)),
        "exif of many entries.jpg": exif(entry(0x112, 3, 1, 6), 0xFFFF),
        "exif far away.jpg": exif(entry(0x8769, 4, 1, 0xFFFFFFFF)),
        "exif of noise.jpg": exif(np.random.default_rng(1).bytes(600), 50),
        "exif of noise.png": with_chunk(b"eXIf", np.random.default_rng(2).bytes(600)),
        "picture index of noise.jpg": behind_start(
            encode(sample_image(), "JPEG"), b"\xff\xe2\0\x40MPF\0" + np.random.default_rng(3).bytes(58)
        ),
    }
    fates = dict.fromkeys(photos, PREPARED) | {"picture index of noise.jpg": EITHER}
    return {name: OddPhoto(data, fates[name]) for name, data in photos.items()}


def bombs() -> dict[str, OddPhoto]:
    """Build small files that take much memory or time to decode."""
    frame = b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"
    logical = struct.pack("<HHBBB", 0xFFFF, 0xFFFF, 0, 0, 0)
    webp = b"RIFF\x12\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\x3f\0" * 2
    return {
        "text bomb.png": OddPhoto(with_chunk(b"zTXt", b"k\0\0" + compressed_zeros()), EITHER),
        "many texts.png": OddPhoto(with_chunk(b"zTXt", b"k\0\0" + compressed_zeros(1 << 20), 200), EITHER),
        "profile bomb.png": OddPhoto(with_chunk(b"iCCP", b"k\0\0" + compressed_zeros()), EITHER),
        "international bomb.png": OddPhoto(with_chunk(b"iTXt", b"k\0\1\0\0\0" + compressed_zeros()), EITHER),
        "pixels bomb.png": OddPhoto(damaged.png(10, 10, bytes(64 << 20)), EITHER),
        "huge screen.gif": OddPhoto(
            b"GIF89a" + logical + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;", REFUSED, "too large"
        ),
        "huge frame.gif": OddPhoto(frame, REFUSED, "too large"),
        "huge canvas.webp": OddPhoto(webp, REFUSED),
        "many scans.jpg": OddPhoto(many_scans(10_000), REFUSED, "scans"),
        "a film behind it.jpg": OddPhoto(encode(sample_image(), "JPEG") + b"\xff\xda\0\x04" * 5000, PREPARED),
        "huge tile.tif": OddPhoto(tiles(100, 1 << 20, 1), REFUSED),
        "huge tile of few bytes.tif": OddPhoto(replaced(tiles(100, 1 << 14, 1), entry(259, 4, 1, 1),
                                                  entry(259, 4, 1, 5)), REFUSED),
        "tiles of a pixel.tif": OddPhoto(tiles(1000, 1, 1_000_000), REFUSED, "tiles"),
    }  # fmt: skip


def streams() -> dict[str, OddPhoto]:
    """Build JPEGs whose entropy-coded part is unusual."""
    small = encode(sample_image(), "JPEG", restart_marker_blocks=1)
    without = small
    for number in range(8):
        without = without.replace(bytes([0xFF, 0xD0 + number]), b"")
    plain = encode(sample_image(), "JPEG")
    return {
        "with restarts.jpg": OddPhoto(small, PREPARED),
        "restarts missing.jpg": OddPhoto(without, EITHER),
        "named arithmetic.jpg": OddPhoto(replaced(plain, b"\xff\xc0", b"\xff\xc9"), EITHER),
        "named lossless.jpg": OddPhoto(replaced(plain, b"\xff\xc0", b"\xff\xc3"), REFUSED),
        "named hierarchical.jpg": OddPhoto(replaced(plain, b"\xff\xc0", b"\xff\xc5"), REFUSED),
        "twelve bits.jpg": OddPhoto(replaced(plain, b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), REFUSED),
        "no tables.jpg": OddPhoto(plain.replace(b"\xff\xc4", b"\xff\xec"), EITHER),
        "fill bytes.jpg": OddPhoto(plain.replace(b"\xff\xc0", b"\xff" * 500 + b"\xc0"), PREPARED),
        "no end.jpg": OddPhoto(plain[:-2], EITHER),
    }


PARTS: tuple[Callable[[], dict[str, OddPhoto]], ...] = (
    damaged_photos, truncated, colours, shapes, metadata, bombs, streams,
)  # fmt: skip


@cache
def files() -> dict[str, OddPhoto]:
    """Build every odd file, by its name."""
    return {name: odd for part in PARTS for name, odd in part().items()}
