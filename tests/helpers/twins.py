"""Photos saved again, and the twins that are found among them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from tledge.data.duplicates import DuplicatePair, duplicates
from tledge.preprocessing.image import preprocess

SAVED_AGAIN = "same picture"

TURNED = "turned or mirrored"


def jpeg(image: Image.Image, quality: int = 92, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = BytesIO()
    image.save(out, "JPEG", quality=quality, exif=exif)
    return out.getvalue()


def halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def twins(*photos: bytes, size: int = 128) -> list[DuplicatePair]:
    """Twins of encoded photos; the bytes themselves serve as their digests."""
    prepared = np.stack([preprocess(one, (size, size)) for one in photos])
    return duplicates(prepared, [one.hex() for one in photos])
