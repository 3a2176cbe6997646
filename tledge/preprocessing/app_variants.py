"""Preprocess photos as apps do that deviate from `image.preprocess`, to measure what it costs.

Each variant turns a decoded photo into uint8[H, W, 3], as the contract's preprocessing does. Its entry of
`APP_VARIANTS` describes it; real libraries differ by another grey level or so.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tledge.preprocessing import image
from tledge.preprocessing.bit_depth import PixelRange
from tledge.run import golden_set

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Size = tuple[int, int]

T = TypeVar("T")

QUALITY = 75
"""JPEG quality that Pillow writes with, and the "compress" of many apps."""

INVERSE_ORIENTATION = {6: 8, 8: 6}
"""EXIF orientations that another one undoes; the others undo themselves."""


@dataclass(frozen=True)
class UprightPhoto:
    """A decoded photo: upright RGB uint8[h, w, 3], and the EXIF orientation 1..8 it was stored in."""

    pixels: Pixels
    orientation: int = 1


@dataclass(frozen=True)
class AppVariant:
    """One way to preprocess: its name, what an app that uses it does, and the function.

    `resizes` says that it differs from the contract in resizing only.
    """

    name: str
    does: str
    preprocess: Callable[[UprightPhoto, Size], Pixels]
    resizes: bool = False


def decode_photo(data: bytes) -> UprightPhoto:
    """Decode an encoded photo; raises DataError or MissingError as `image.preprocess` does."""
    return use_photo(data, lambda photo: photo)


def use_photo(data: bytes, use: Callable[[UprightPhoto], T], pixel_range: PixelRange = ()) -> T:
    """Decode an encoded photo as `decode_photo` does, and return what `use` returns for it.

    In several threads, photos in full take only the memory that `image.use_decoded` allows.
    """
    decoded = image.use_decoded(
        data, lambda pixels, facts: use(UprightPhoto(pixels, facts.orientation)), pixel_range
    )
    return decoded[0]


def reference(photo: UprightPhoto, size: Size) -> Pixels:
    """Preprocess as the contract says."""
    return image.preprocess(photo.pixels, size)


def bilinear(photo: UprightPhoto, size: Size) -> Pixels:
    """Interpolate between the four nearest pixels: no antialiasing, half-pixel centres.

    As `tf.image.resize` does by default and OpenCV's INTER_LINEAR: a pixel's centre at i + 0.5 of the
    target lies at (i + 0.5) * source / target of the source.
    """
    import numpy as np

    source = photo.pixels
    (top, bottom, down), (left, right, across) = (
        _neighbours(length, target_length)
        for length, target_length in zip(source.shape[:2], size, strict=True)
    )
    across = across[None, :, None]
    above, below = (
        source[rows][:, left] * (1 - across) + source[rows][:, right] * across for rows in (top, bottom)
    )
    mixed = above * (1 - down[:, None, None]) + below * down[:, None, None]
    return np.asarray(np.floor(mixed + 0.5), np.uint8)


def _neighbours(
    length: int, target_length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return two neighbours, and the share of the second, for `wanted` places along `length` pixels."""
    import numpy as np

    places = (np.arange(target_length) + 0.5) * (length / target_length) - 0.5
    before = np.floor(places).astype(np.int64)
    share = (places - before).astype(np.float32)
    return np.clip(before, 0, length - 1), np.clip(before + 1, 0, length - 1), share


def nearest(photo: UprightPhoto, size: Size) -> Pixels:
    """Take the one pixel at floor((i + 0.5) * source / target), as nearest in Pillow and TensorFlow does."""
    import numpy as np

    rows, columns = (
        (2 * np.arange(target_length) + 1) * length // (2 * target_length)
        for length, target_length in zip(photo.pixels.shape[:2], size, strict=True)
    )
    chosen: Pixels = photo.pixels[rows][:, columns]
    return chosen


def area(photo: UprightPhoto, size: Size) -> Pixels:
    """Average the area that a pixel covers: BOX in Pillow, INTER_AREA in OpenCV."""
    import numpy as np
    from PIL import Image

    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(photo.pixels).resize((size[1], size[0]), box), np.uint8)


def browser_canvas(photo: UprightPhoto, size: Size) -> Pixels:
    """Halve by averages while the image is at least twice as large, then resize as `bilinear` does.

    This approximates `drawImage` of browsers with smoothing above "low": they keep such halves
    (mipmaps) and choose among them, each browser and version in its own way. With "low" they are
    closer to `bilinear`.
    """
    pixels = photo.pixels
    while pixels.shape[0] >= 2 * size[0] and pixels.shape[1] >= 2 * size[1]:
        half = UprightPhoto(pixels)
        pixels = area(half, (pixels.shape[0] // 2, pixels.shape[1] // 2))
    return bilinear(UprightPhoto(pixels), size)


def centre_crop(photo: UprightPhoto, size: Size) -> Pixels:
    """Crop the largest part from the middle that has the target's shape, and preprocess it."""
    height, width = photo.pixels.shape[:2]
    scale = min(height / size[0], width / size[1])
    tall, wide = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    return image.preprocess(photo.pixels[top : top + tall, left : left + wide], size)


def channels_swapped(photo: UprightPhoto, size: Size) -> Pixels:
    """Return the contract's pixels, blue first."""
    import numpy as np

    (fault,) = (fault for fault in golden_set.FAULTS if fault.name == "channels-swapped")
    return fault.apply(reference(photo, size).astype(np.float32)).astype(np.uint8)


def jpeg_reencoded(photo: UprightPhoto, size: Size) -> Pixels:
    """Save as JPEG in the original size, decode, and preprocess that."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(photo.pixels).save(out, "JPEG", quality=QUALITY)
    return image.preprocess(out.getvalue(), size)


def exif_ignored(photo: UprightPhoto, size: Size) -> Pixels:
    """Preprocess the photo as it is stored, without its EXIF orientation."""
    import numpy as np
    from PIL import Image

    inverse = INVERSE_ORIENTATION.get(photo.orientation, photo.orientation)
    return image.preprocess(np.asarray(image.apply_orientation(Image.fromarray(photo.pixels), inverse)), size)


APP_VARIANTS: tuple[AppVariant, ...] = (
    AppVariant("reference", "preprocesses photos as the contract says", reference),
    AppVariant("bilinear", "resizes bilinearly without antialiasing", bilinear, resizes=True),
    AppVariant("nearest", "resizes by taking the nearest pixel", nearest, resizes=True),
    AppVariant("area", "resizes by averaging areas", area, resizes=True),
    AppVariant("canvas", "resizes about as a browser's canvas does", browser_canvas, resizes=True),
    AppVariant("centre-crop", "cuts a square out of the middle", centre_crop),
    AppVariant("jpeg-75", f"saves the photo as JPEG of quality {QUALITY} first", jpeg_reencoded),
    AppVariant("exif-ignored", "does not turn photos as their EXIF orientation says", exif_ignored),
    AppVariant("bgr", "hands over blue, green, red instead of red, green, blue", channels_swapped),
)
"""All variants that are measured, the contract's first."""
