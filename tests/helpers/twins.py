"""Photos saved again, and the twins that are found among them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tledge.data.duplicates import DuplicatePair, find_duplicates
from tledge.preprocessing.image import preprocess

Pixels = NDArray[np.uint8]

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
    return find_duplicates(prepared, [one.hex() for one in photos])


def scenes(count: int, side: int = 32, seed: int = 0) -> Pixels:
    """Different photos: coarse colour patches."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return coarse.repeat(side // 4, axis=1).repeat(side // 4, axis=2)


def noisy(images: Pixels, level: int, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).integers(-level, level + 1, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)
