"""A folder of damaged photos as people have them, and the word that must name each one's fault."""

from __future__ import annotations

import os
import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FINE = ("a png named.jpg",)
"""Photos among the damaged ones that decode all the same."""

IGNORED = ("x.jpg",)
"""A folder named like a photo."""

DANGLING = "y.jpg"
"""A link to a photo that is not there."""


def encoded(kind: str, height: int = 120, width: int = 160, **options: Any) -> bytes:
    """A colourful picture as a file."""
    coarse = np.random.default_rng(7).integers(0, 256, (12, 16, 3), np.uint8)
    out = BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(height: int, width: int, pixels: bytes = b"", depth: int = 8, color: int = 2) -> bytes:
    """A PNG written by hand; `pixels` are its rows, each after a filter byte."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def bmp(height: int, width: int) -> bytes:
    """The header of a BMP of this size, without its pixels."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head


def tiff(pixels_at: int, directory_at: int = 8, strips: int = 1) -> bytes:
    """A grey TIFF of 100 x 100 whose pixels lie at any offset, in any number of strips."""
    tags = [(256, 100), (257, 100), (258, 8), (259, 1), (262, 1), (273, pixels_at), (278, 100), (279, 10_000)]
    entries = [struct.pack("<HHII", tag, 4, strips if tag in (273, 279) else 1, value) for tag, value in tags]
    return struct.pack("<2sHIH", b"II", 42, directory_at, len(tags)) + b"".join(entries) + bytes(4)


def flipped(data: bytes, place: int) -> bytes:
    """The file with one byte changed."""
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@cache
def files() -> dict[str, tuple[str, bytes]]:
    """Every damaged file: the word expected in the reason, and the bytes."""
    jpeg, whole = encoded("JPEG", quality=90), encoded("PNG")
    body = whole.index(b"IDAT") + 4
    video = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(200)
    cut = {f"cut at {share} of 4.jpg": ("truncated", jpeg[: len(jpeg) * share // 4]) for share in (1, 2, 3)}
    return cut | {
        "zero bytes.jpg": ("empty", b""),
        "abgeschnitten – ½.png": ("truncated", whole[: len(whole) // 2]),
        "cut-progressive.jpg": ("truncated", encoded("JPEG", progressive=True)[:-2000]),
        "cut.webp": ("truncated", encoded("WEBP")[:-500]),
        "cut.gif": ("truncated", encoded("GIF")[:-500]),
        "cut-lzw.tif": ("header", encoded("TIFF", compression="tiff_lzw")[:-500]),
        "download-failed.jpg": ("HTML", b"\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"),
        "notes.jpg": ("text", "Grüße aus dem Urlaub.\n".encode() * 100),
        "drawing.jpg": ("SVG", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'),
        "scan.jpg": ("PDF", b"%PDF-1.7\n%\xe2\xe3"),
        "many.jpg": ("zip", b"PK\x03\x04" + bytes(100)),
        "zeros.jpg": ("zeros", bytes(5000)),
        "random.jpg": ("kind", np.random.default_rng(7).bytes(5000)),
        "film.jpg": ("video", video),
        "header-checksum.png": ("header", flipped(whole, whole.index(b"IHDR") + 18)),
        "first-pixels.png": ("broken", flipped(whole, body)),
        "later-pixels.png": ("damaged", flipped(whole, body + 5000)),
        "only-a-header.jpg": ("header", jpeg[:20]),
        "no-pixels.jpg": ("cannot load", jpeg[: jpeg.index(b"\xff\xda")]),
        "no-frames.gif": ("header", b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0, 0, 0) + b";"),
        "bomb.png": ("too large", png(60_000, 60_000)),
        "bomb.bmp": ("too large", bmp(2**31 - 1, 2**31 - 1)),
        "no-pixels.bmp": ("truncated", bmp(9_000, 9_000)),
        "wild-strip.tif": ("truncated", tiff(0x7FFFFFFF)),
        "wild-directory.tif": ("header", tiff(200, directory_at=0xFFFFFFF0)),
        "wild-count.tif": ("header", tiff(200, strips=2**31)),
    }


def build(folder: Path) -> dict[str, str]:
    """Fill `folder`; gives each damaged file's name and the word expected in its reason.

    `FINE`, `IGNORED` and `DANGLING` are there as well, and an unreadable file where permissions hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bad = {name: word for name, (word, _data) in files().items()}
    for name, (_word, data) in files().items():
        (folder / name).write_bytes(data)
    (folder / FINE[0]).write_bytes(encoded("PNG"))
    (folder / IGNORED[0]).mkdir()
    (folder / DANGLING).symlink_to(folder / "nothing.jpg")
    secret = folder / "unreadable.jpg"
    secret.write_bytes(encoded("JPEG"))
    secret.chmod(0)
    if os.access(secret, os.R_OK):  # root reads everything
        secret.unlink()
    else:
        bad[secret.name] = "cannot be read"
    return bad
