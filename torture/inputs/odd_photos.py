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

from tests import damaged

PREPARED, REFUSED, EITHER = "prepared", "refused", "either"


@dataclass(frozen=True)
class Odd:
    """A file and its fate; `word` stands in the reason where it is refused."""

    data: bytes
    fate: str
    word: str = ""


def kinds() -> tuple[str, ...]:
    """Formats that this Pillow writes."""
    return ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", *["AVIF"] * features.check("avif"))


def picture(mode: str = "RGB", height: int = 24, width: int = 32) -> Image.Image:
    """A colourful picture in one of Pillow's modes."""
    return Image.open(BytesIO(damaged.encoded("PNG", height, width))).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def animated(kind: str) -> bytes:
    """Three frames."""
    frames = [picture().rotate(90 * turn) for turn in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def exif(entries: bytes, count: int = 1) -> bytes:
    """A JPEG with EXIF of `count` entries, written by hand."""
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4)
    return behind_start(saved(picture(), "JPEG"), b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)


def behind_start(jpeg: bytes, segment: bytes) -> bytes:
    """A JPEG with a segment at its beginning."""
    return jpeg[:2] + segment + jpeg[2:]


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    """An entry of an EXIF or TIFF directory."""
    return struct.pack("<HHII", tag, kind, count, value)


def deep(color: int, samples: int) -> bytes:
    """A PNG of 16 bits a sample, 24 x 32."""
    rows = np.random.default_rng(3).integers(0, 65536, (24, 32 * samples)).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return damaged.png(24, 32, lines, depth=16, color=color)


def with_chunk(kind: bytes, data: bytes, times: int = 1) -> bytes:
    """A PNG with chunks behind its header."""
    whole = saved(picture(), "PNG")
    return whole[:33] + damaged.chunk(kind, data) * times + whole[33:]


def bomb(size: int = 64 << 20) -> bytes:
    """Zeros that packed are a thousandth."""
    return zlib.compress(bytes(size), 9)


def swapped(data: bytes, before: bytes, after: bytes) -> bytes:
    """The file with the first `before` exchanged."""
    place = data.index(before)
    return data[:place] + after + data[place + len(before) :]


def many_scans(times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each costs by the size of the picture."""
    whole = saved(Image.new("RGB", (4000, 4000), (200, 30, 30)), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * times + whole[-2:]


def tiles(side: int, each: int, count: int) -> bytes:
    """A grey TIFF of `side` whose tiles have sides `each`; all `count` lie at one place."""
    table = 8 + 2 + 12 * 9 + 4
    offsets = struct.pack("<I", 8) * count
    entries = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (322, each), (323, each)]
    listed = b"".join(entry(tag, 4, 1, value) for tag, value in entries)
    listed += entry(324, 4, count, table if count > 1 else 8)
    listed += entry(325, 4, count, table + len(offsets) if count > 1 else each * each & 0xFFFFFFFF)
    head = struct.pack("<2sHIH", b"II", 42, 8, 9) + listed + bytes(4)
    return head + offsets + struct.pack("<I", each * each & 0xFFFFFFFF) * count + bytes(5000)


def cut() -> dict[str, Odd]:
    """A photo of each format that ends at every quarter."""
    made = {}
    for kind in kinds():
        whole = damaged.encoded(kind)
        for share in (1, 2, 3):
            made[f"cut {kind} {share}.jpg"] = Odd(whole[: len(whole) * share // 4], REFUSED)
    return made


def known() -> dict[str, Odd]:
    """The damaged photos of the tests."""
    return {name: Odd(data, REFUSED, word) for name, (word, data) in damaged.files().items()}


def colours() -> dict[str, Odd]:
    """Rare colours, depths and profiles: all are photos."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk = saved(picture("CMYK"), "JPEG")
    made = {
        "cmyk by Adobe.jpg": cmyk,
        "ycck by Adobe.jpg": swapped(cmyk, b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
        "cmyk without Adobe.jpg": swapped(cmyk, b"Adobe", b"Adoba"),
        "cmyk.tif": saved(picture("CMYK"), "TIFF"),
        "grey16.png": deep(0, 1),
        "colour16.png": deep(2, 3),
        "colour16 and alpha.png": deep(6, 4),
        "grey16.tif": saved(Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32) * 80), "TIFF"),
        "float.tif": saved(picture("F"), "TIFF"),
        "integers of 32 bits.tif": saved(picture("I"), "TIFF"),
        "one bit.png": saved(picture("1"), "PNG"),
        "one bit.tif": saved(picture("1"), "TIFF", compression="group4"),
        "grey and alpha.png": saved(picture("LA"), "PNG"),
        "alpha.webp": saved(picture("RGBA"), "WEBP"),
        "alpha.png": saved(picture("RGBA"), "PNG"),
        "palette.png": saved(picture("P"), "PNG", transparency=3),
        "palette of alphas.png": saved(picture("P"), "PNG", transparency=bytes(range(256))),
        "palette.bmp": saved(picture("P"), "BMP"),
        "ycbcr.tif": saved(picture("YCbCr"), "TIFF"),
        "profile.jpg": saved(picture(), "JPEG", icc_profile=profile),
        "garbage for a profile.jpg": saved(picture(), "JPEG", icc_profile=b"\xff" * 5000),
        "garbage for a profile.png": saved(picture(), "PNG", icc_profile=b"\xff" * 5000),
        "progressive.jpg": saved(picture(), "JPEG", progressive=True),
        "interlaced.gif": saved(picture(), "GIF", interlace=1),
    }
    return {name: Odd(data, PREPARED) for name, data in made.items()}


def shapes() -> dict[str, Odd]:
    """Rare sizes, several pictures in one file, wrong endings."""
    pages = saved(picture(), "TIFF", save_all=True, append_images=[picture("L"), picture("1")])
    made = {
        "one pixel.png": saved(picture("RGB", 1, 1), "PNG"),
        "one pixel.jpg": saved(picture("RGB", 1, 1), "JPEG"),
        "a column.png": saved(picture("RGB", 20_000, 1), "PNG"),
        "a row.jpg": saved(picture("RGB", 1, 20_000), "JPEG"),
        "a row.gif": saved(picture("RGB", 1, 20_000), "GIF"),
        "animated.gif": animated("GIF"),
        "animated.png": animated("PNG"),
        "animated.webp": animated("WEBP"),
        "pages.tif": pages,
        "two pictures.jpg": saved(picture(), "MPO", save_all=True, append_images=[picture("L")]),
        "a png.jpg": saved(picture(), "PNG"),
        "a jpeg.png": saved(picture(), "JPEG"),
        "a webp.heic": saved(picture(), "WEBP"),
        "a tiff.gif": saved(picture(), "TIFF"),
    }
    if features.check("avif"):
        made["a jpeg.avif"], made["animated.avif"] = saved(picture(), "JPEG"), animated("AVIF")
    return {name: Odd(data, PREPARED) for name, data in made.items()}


def metadata() -> dict[str, Odd]:
    """EXIF and text that is garbage; what can be read of the pixels is a photo."""
    turns = {f"orientation {value}.jpg": exif(entry(0x112, 3, 1, value)) for value in (0, 9, 65535)}
    made = turns | {
        "orientation in words.jpg": exif(entry(0x112, 2, 4, 0x36363636)),
        "orientation thrice.jpg": exif(entry(0x112, 3, 3, 8)),
        "exif in a circle.jpg": exif(entry(0x8769, 4, 1, 8) + entry(0x8825, 4, 1, 8), 2),
        "exif without end.jpg": exif(entry(0x112, 3, 0xFFFFFFFF, 8)),
        "exif of many entries.jpg": exif(entry(0x112, 3, 1, 6), 0xFFFF),
        "exif far away.jpg": exif(entry(0x8769, 4, 1, 0xFFFFFFFF)),
        "exif of noise.jpg": exif(np.random.default_rng(1).bytes(600), 50),
        "exif of noise.png": with_chunk(b"eXIf", np.random.default_rng(2).bytes(600)),
        "picture index of noise.jpg": behind_start(
            saved(picture(), "JPEG"), b"\xff\xe2\0\x40MPF\0" + np.random.default_rng(3).bytes(58)
        ),
    }
    fates = dict.fromkeys(made, PREPARED) | {"picture index of noise.jpg": EITHER}
    return {name: Odd(data, fates[name]) for name, data in made.items()}


def bombs() -> dict[str, Odd]:
    """Small files that want much memory or time."""
    frame = b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"
    logical = struct.pack("<HHBBB", 0xFFFF, 0xFFFF, 0, 0, 0)
    webp = b"RIFF\x12\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\x3f\0" * 2
    return {
        "text bomb.png": Odd(with_chunk(b"zTXt", b"k\0\0" + bomb()), EITHER),
        "many texts.png": Odd(with_chunk(b"zTXt", b"k\0\0" + bomb(1 << 20), 200), EITHER),
        "profile bomb.png": Odd(with_chunk(b"iCCP", b"k\0\0" + bomb()), EITHER),
        "international bomb.png": Odd(with_chunk(b"iTXt", b"k\0\1\0\0\0" + bomb()), EITHER),
        "pixels bomb.png": Odd(damaged.png(10, 10, bytes(64 << 20)), EITHER),
        "huge screen.gif": Odd(b"GIF89a" + logical + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;", REFUSED, "too large"),
        "huge frame.gif": Odd(frame, REFUSED, "too large"),
        "huge canvas.webp": Odd(webp, REFUSED),
        "many scans.jpg": Odd(many_scans(10_000), REFUSED, "scans"),
        "a film behind it.jpg": Odd(saved(picture(), "JPEG") + b"\xff\xda\0\x04" * 5000, PREPARED),
        "huge tile.tif": Odd(tiles(100, 1 << 20, 1), REFUSED),
        "huge tile of few bytes.tif": Odd(swapped(tiles(100, 1 << 14, 1), entry(259, 4, 1, 1),
                                                  entry(259, 4, 1, 5)), REFUSED),
        "tiles of a pixel.tif": Odd(tiles(1000, 1, 1_000_000), REFUSED, "tiles"),
    }  # fmt: skip


def streams() -> dict[str, Odd]:
    """JPEGs whose entropy-coded part is unusual."""
    small = saved(picture(), "JPEG", restart_marker_blocks=1)
    without = small
    for number in range(8):
        without = without.replace(bytes([0xFF, 0xD0 + number]), b"")
    plain = saved(picture(), "JPEG")
    return {
        "with restarts.jpg": Odd(small, PREPARED),
        "restarts missing.jpg": Odd(without, EITHER),
        "named arithmetic.jpg": Odd(swapped(plain, b"\xff\xc0", b"\xff\xc9"), EITHER),
        "named lossless.jpg": Odd(swapped(plain, b"\xff\xc0", b"\xff\xc3"), REFUSED),
        "named hierarchical.jpg": Odd(swapped(plain, b"\xff\xc0", b"\xff\xc5"), REFUSED),
        "twelve bits.jpg": Odd(swapped(plain, b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), REFUSED),
        "no tables.jpg": Odd(plain.replace(b"\xff\xc4", b"\xff\xec"), EITHER),
        "fill bytes.jpg": Odd(plain.replace(b"\xff\xc0", b"\xff" * 500 + b"\xc0"), PREPARED),
        "no end.jpg": Odd(plain[:-2], EITHER),
    }


PARTS: tuple[Callable[[], dict[str, Odd]], ...] = (
    known, cut, colours, shapes, metadata, bombs, streams,
)  # fmt: skip


@cache
def files() -> dict[str, Odd]:
    """Every odd file by its name."""
    return {name: odd for part in PARTS for name, odd in part().items()}
