"""Encode a photo in other ways, so that every runner shows that it reads what users will send.

Phones turn photos by an EXIF tag and not by their pixels; screenshots have an alpha channel; scans
are grey; small pictures have a palette. Each copy is a small file made from a test photo.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from tledge.preprocessing.image import ORIENTATION, decode

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 480
"""Pixels of the longer side of a re-encoded photo, at most."""

QUALITY = 90
"""JPEG quality, 1 to 95."""

Encoded = tuple[str, bytes]
"""A file name's suffix, and the file."""


def _turned(image: Image, orientation: int) -> Encoded:
    """Encode a JPEG as a rotated camera does: its pixels are upright only with its EXIF tag."""
    from PIL.Image import Exif, Transpose

    back = {3: Transpose.ROTATE_180, 6: Transpose.ROTATE_90, 8: Transpose.ROTATE_270}
    tags = Exif()
    tags[ORIENTATION] = orientation
    out = BytesIO()
    image.transpose(back[orientation]).save(out, "JPEG", quality=QUALITY, exif=tags)
    return ".jpg", out.getvalue()


def _with_alpha(image: Image) -> Encoded:
    """Encode a PNG whose alpha falls from left to right."""
    from PIL.Image import linear_gradient

    transparent = image.convert("RGBA")
    transparent.putalpha(linear_gradient("L").rotate(90).resize(transparent.size))
    return ".png", _png(transparent)


def _grey(image: Image) -> Encoded:
    out = BytesIO()
    image.convert("L").save(out, "JPEG", quality=QUALITY)
    return ".jpg", out.getvalue()


def _palette(image: Image) -> Encoded:
    return ".png", _png(image.quantize(64))


def _progressive(image: Image) -> Encoded:
    """Encode a progressive JPEG with odd sides and colour at full resolution."""
    out = BytesIO()
    width, height = (side - 1 + side % 2 for side in image.size)
    image.crop((0, 0, width, height)).save(out, "JPEG", quality=QUALITY, progressive=True, subsampling=0)
    return ".jpg", out.getvalue()


def _png(image: Image) -> bytes:
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


KINDS: dict[str, Callable[[Image], Encoded]] = {
    "upside down by EXIF orientation 3": lambda image: _turned(image, 3),
    "turned by EXIF orientation 6": lambda image: _turned(image, 6),
    "turned by EXIF orientation 8": lambda image: _turned(image, 8),
    "with an alpha channel": _with_alpha,
    "grey": _grey,
    "with a palette": _palette,
    "progressive, odd sides": _progressive,
}
"""Functions from an upright RGB image to the file, by what is special about it."""


def encode(photo: bytes, kind: str) -> Encoded:
    """Encode a photo as another of the `KINDS`; equal photos give equal files."""
    from PIL import Image

    upright = Image.fromarray(decode(photo)[0])
    upright.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    return KINDS[kind](upright)
