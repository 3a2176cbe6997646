"""Name the image formats that are read, recognize them by content, and bound what decoding a file costs."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
"""Formats that are opened; Pillow would also run Ghostscript on EPS files."""

SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".heif",
    ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx",
))  # fmt: skip
"""Endings of image files, in lower case."""

HEAD = 512
"""First bytes of a file by which its kind is recognized."""

MAX_TILES = 10_000
"""Tiles of a JPEG 2000 file, at most. OpenJPEG takes up to 9 KB for each before it decodes one."""

MAX_SLOW_PIXELS = 8_000_000
"""Pixels, at most, of a PPM or PGM file of text, or of unusual depth: Pillow decodes them in Python,
which takes more than a second for each million."""

_SIGNATURES = (
    ("JPEG", rb"\xff\xd8"),
    ("PNG", rb"\x89PNG"),
    ("WEBP", rb"RIFF....WEBP"),
    ("GIF", rb"GIF8"),
    ("BMP", rb"BM"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("AVIF", rb"....ftyp(avi[fs]|mif1|msf1)"),
    ("HEIF", rb"....ftyphe[iv][cxms]"),
    ("PPM", rb"P[1-6]\s(\s|#[^\n]*\n)*\d+\s"),
    ("JPEG2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("a video", rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3"),
    ("HTML", rb"(?i)\s*<(!doctype html|html|head|body)"),
    ("XML or SVG", rb"(?i)\s*<(\?xml|!doctype svg|svg)"),
    ("PDF", rb"%PDF"),
    ("a zip archive", rb"PK\x03\x04"),
    ("zeros", rb"\0+\Z"),
    ("text", rb"[\t\n\f\r\x20-\x7e\x80-\xff]+\Z"),
)
"""Patterns of a file's first bytes."""

_CODESTREAM = re.compile(rb"\xff\x4f\xff\x51..", re.DOTALL)
"""The beginning of JPEG 2000's codestream: two markers, and the length of the second one's fields."""


def kind_of(data: bytes) -> str:
    """Return the kind of a file by its first bytes: a name of `FORMATS`, "HEIF", or words; "" if unknown."""
    head = data[:HEAD]
    return next((kind for kind, pattern in _SIGNATURES if re.match(pattern, head, re.DOTALL)), "")


def is_image(data: bytes) -> bool:
    """Tell whether a file's first bytes are those of an image of a format that is read.

    BMP's signature is two letters, so the size of its header is looked at too.
    """
    kind = kind_of(data)
    if kind == "BMP":
        return data[15:18] == b"\0\0\0" and data[14:15] in (
            b"\x0c",
            b"\x28",
            b"\x34",
            b"\x38",
            b"\x40",
            b"\x6c",
            b"\x7c",
        )
    return kind in (*FORMATS, "HEIF")


def unidentified(data: bytes) -> str:
    """Say what kind of file it is that Pillow does not open."""
    kind = kind_of(data)
    if kind in (*FORMATS, "HEIF"):
        return f"damaged, it starts as {kind} and its header cannot be read"
    if kind:
        return f"not an image (looks like {kind})"
    return f"not an image of a kind that is read ({', '.join(FORMATS)})"


def count_tiles(data: bytes) -> int:
    """Count the tiles of a JPEG 2000 file; return 0 for other formats and for what OpenJPEG refuses."""
    start = _CODESTREAM.search(data)
    if kind_of(data) != "JPEG2000" or not start:
        return 0
    try:
        _profile, *sides = struct.unpack_from(">H8I", data, start.end())
    except struct.error:
        return 0
    width, height, _left, _top, tile_width, tile_height, left, top = map(int, sides)
    if not tile_width or not tile_height:
        return 0
    return max(0, -((left - width) // tile_width)) * max(0, -((top - height) // tile_height))


def memory_kind(image: Image) -> str:
    """Return the name by which an opened image's memory is counted: its format, or how it is decoded."""
    return "PPM in Python" if is_decoded_in_python(image) else str(image.format)


def is_decoded_in_python(image: Image) -> bool:
    """Tell whether Pillow's own Python code decodes the pixels: slowly, and with much memory."""
    tiles = getattr(image, "tile", [])
    return image.format == "PPM" and any(tile[0] in ("ppm", "ppm_plain") for tile in tiles)
