"""How apps prepare photos otherwise than `image.preprocess` does, by name, to measure what it costs.

Every way takes a decoded photo and gives uint8[H, W, 3] as the contract's preparation does. What
they do stands in their entry of `APP_VARIANTS`; real libraries differ by another grey level or so.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge.preprocessing import image
from tledge.run import golden_set

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Size = tuple[int, int]

QUALITY = 75
"""JPEG quality that Pillow, and many an app's "compress", writes with."""

BACK = {6: 8, 8: 6}
"""EXIF orientations that undo another; the others undo themselves."""


@dataclass(frozen=True)
class EncodedPhoto:
    """A decoded photo: upright RGB uint8[h, w, 3], and the EXIF orientation 1..8 it was stored in."""

    pixels: Pixels
    orientation: int = 1


@dataclass(frozen=True)
class AppVariant:
    """One way to prepare: its name, what an app that takes it does, and how.

    `resizes` says that it differs from the contract in resizing alone.
    """

    name: str
    does: str
    preprocess: Callable[[EncodedPhoto, Size], Pixels]
    resizes: bool = False


def read(data: bytes) -> EncodedPhoto:
    """Decode an encoded photo; raises DataError or MissingError as `image.preprocess` does."""
    pixels, facts = image.decode(data)
    return EncodedPhoto(pixels, facts.orientation)


def reference(photo: EncodedPhoto, size: Size) -> Pixels:
    """The contract's preparation."""
    return image.preprocess(photo.pixels, size)


def bilinear(photo: EncodedPhoto, size: Size) -> Pixels:
    """Between the four nearest pixels, the others unseen: no antialiasing, half-pixel centres.

    As `tf.image.resize` does by default and OpenCV's INTER_LINEAR: a pixel's centre at i + 0.5 of the
    target lies at (i + 0.5) * source / target of the source.
    """
    import numpy as np

    source = photo.pixels
    (top, bottom, down), (left, right, across) = (
        _neighbours(length, wanted) for length, wanted in zip(source.shape[:2], size, strict=True)
    )
    across = across[None, :, None]
    above, below = (
        source[rows][:, left] * (1 - across) + source[rows][:, right] * across for rows in (top, bottom)
    )
    mixed = above * (1 - down[:, None, None]) + below * down[:, None, None]
    return np.asarray(np.floor(mixed + 0.5), np.uint8)


def _neighbours(length: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each of `wanted` places along `length` pixels: the pixels before and behind, the latter's share."""
    import numpy as np

    places = (np.arange(wanted) + 0.5) * (length / wanted) - 0.5
    before = np.floor(places).astype(np.int64)
    share = (places - before).astype(np.float32)
    return np.clip(before, 0, length - 1), np.clip(before + 1, 0, length - 1), share


def nearest(photo: EncodedPhoto, size: Size) -> Pixels:
    """The one pixel at floor((i + 0.5) * source / target), as Pillow's and TensorFlow's nearest."""
    import numpy as np

    rows, columns = (
        (2 * np.arange(wanted) + 1) * length // (2 * wanted)
        for length, wanted in zip(photo.pixels.shape[:2], size, strict=True)
    )
    found: Pixels = photo.pixels[rows][:, columns]
    return found


def area(photo: EncodedPhoto, size: Size) -> Pixels:
    """The mean of the area that a pixel covers, Pillow's BOX; OpenCV calls it INTER_AREA."""
    import numpy as np
    from PIL import Image

    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(photo.pixels).resize((size[1], size[0]), box), np.uint8)


def canvas(photo: EncodedPhoto, size: Size) -> Pixels:
    """Halved by averages while it is at least twice as large, then bilinear without antialiasing.

    An approximation of what browsers make of `drawImage` with smoothing above "low": they keep
    such halves (mipmaps) and choose among them, each browser and version in its own way. With "low"
    they come nearer to `bilinear`.
    """
    pixels = photo.pixels
    while pixels.shape[0] >= 2 * size[0] and pixels.shape[1] >= 2 * size[1]:
        half = EncodedPhoto(pixels)
        pixels = area(half, (pixels.shape[0] // 2, pixels.shape[1] // 2))
    return bilinear(EncodedPhoto(pixels), size)


def centre_crop(photo: EncodedPhoto, size: Size) -> Pixels:
    """The largest part from the middle that has the target's shape, resized as the contract says."""
    height, width = photo.pixels.shape[:2]
    scale = min(height / size[0], width / size[1])
    tall, wide = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    return image.preprocess(photo.pixels[top : top + tall, left : left + wide], size)


def swapped(photo: EncodedPhoto, size: Size) -> Pixels:
    """The contract's pixels, blue first."""
    import numpy as np

    (fault,) = (one for one in golden_set.FAULTS if one.name == "channels-swapped")
    return fault.apply(reference(photo, size).astype(np.float32)).astype(np.uint8)


def encoded_again(photo: EncodedPhoto, size: Size) -> Pixels:
    """Saved as JPEG in its own size, decoded, resized as the contract says."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(photo.pixels).save(out, "JPEG", quality=QUALITY)
    return image.preprocess(out.getvalue(), size)


def not_turned(photo: EncodedPhoto, size: Size) -> Pixels:
    """As it is stored: the EXIF orientation is not looked at."""
    import numpy as np
    from PIL import Image

    undone = BACK.get(photo.orientation, photo.orientation)
    return image.preprocess(np.asarray(image.apply_orientation(Image.fromarray(photo.pixels), undone)), size)


APP_VARIANTS: tuple[AppVariant, ...] = (
    AppVariant("reference", "prepares photos as the contract says", reference),
    AppVariant("bilinear", "resizes bilinearly without antialiasing", bilinear, resizes=True),
    AppVariant("nearest", "resizes by taking the nearest pixel", nearest, resizes=True),
    AppVariant("area", "resizes by averaging areas", area, resizes=True),
    AppVariant("canvas", "resizes about as a browser's canvas does", canvas, resizes=True),
    AppVariant("centre-crop", "cuts a square out of the middle", centre_crop),
    AppVariant("jpeg-75", f"saves the photo as JPEG of quality {QUALITY} first", encoded_again),
    AppVariant("exif-ignored", "does not turn photos as their EXIF orientation says", not_turned),
    AppVariant("bgr", "hands over blue, green, red instead of red, green, blue", swapped),
)
"""All ways that are measured, the contract's first."""
