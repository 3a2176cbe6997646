"""The same photo in other encodings, so that every runner shows that it reads what users will send.

Phones turn photos by an EXIF tag and not by their pixels; screenshots have an alpha channel; scans
are grey; small pictures have a palette. Each copy is a small file made from a test photo.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from tledge.preprocessing.image import ORIENTATION, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 480
"""Pixels of the longer side of a copy, at most."""

QUALITY = 90
"""Of JPEG copies, 1 to 95."""

Encoded = tuple[str, bytes]
"""A file name's suffix, and the file."""


def _turned(image: Image, orientation: int) -> Encoded:
    """A JPEG that is stored as a camera held otherwise stores it; upright only by its tag."""
    from PIL.Image import Exif, Transpose

    back = {3: Transpose.ROTATE_180, 6: Transpose.ROTATE_90, 8: Transpose.ROTATE_270}
    tags = Exif()
    tags[ORIENTATION] = orientation
    out = BytesIO()
    image.transpose(back[orientation]).save(out, "JPEG", quality=QUALITY, exif=tags)
    return ".jpg", out.getvalue()


def _see_through(image: Image) -> Encoded:
    """A PNG whose alpha falls from left to right."""
    from PIL.Image import linear_gradient

    made = image.convert("RGBA")
    made.putalpha(linear_gradient("L").rotate(90).resize(made.size))
    return ".png", _png(made)


def _grey(image: Image) -> Encoded:
    out = BytesIO()
    image.convert("L").save(out, "JPEG", quality=QUALITY)
    return ".jpg", out.getvalue()


def _palette(image: Image) -> Encoded:
    return ".png", _png(image.quantize(64))


def _progressive(image: Image) -> Encoded:
    """A progressive JPEG, colour at full resolution, with odd sides."""
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
    "with an alpha channel": _see_through,
    "grey": _grey,
    "with a palette": _palette,
    "progressive, odd sides": _progressive,
}
"""By what is special: a function from an upright RGB image to the file."""


def encode(photo: bytes, kind: str) -> Encoded:
    """An encoded photo in another of the `KINDS`; equal photos give equal files."""
    from PIL import Image

    with Image.open(BytesIO(photo)) as opened:
        upright = to_rgb(opened)
    upright.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    return KINDS[kind](upright)
