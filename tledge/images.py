"""The one preparation of an image, used for training, calibration, verification and devices.

decode (Pillow) → EXIF orientation → RGB → resize (Pillow's BILINEAR, which antialiases) →
uint8[H, W, 3]. Change nothing here without a new `PREPARATION` and new golden pixels.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PREPARATION = 1
"""Version of the preparation; part of every cache key."""

MAX_PIXELS = 100_000_000
"""Larger photos are refused: decoding one would take more than 300 MB."""


FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What counts as a photo; Pillow would also hand EPS files to Ghostscript."""

_DAMAGE = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error, zlib.error,
           LookupError, TypeError)  # fmt: skip
"""What Pillow's decoders raise for damaged files."""


def prepare(source: bytes | Path | NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels a model sees: uint8[height, width, 3], RGB 0..255.

    `source` is an encoded photo, the path of one, or a decoded uint8[h, w, 3]; `size` is
    (height, width). Transparent pixels are laid on white. Raises DataError for what does not
    decode or is too large, and FileNotFoundError for a path that does not exist.
    """
    import numpy as np

    image = to_rgb(_open(source))
    height, width = size
    if image.size != (width, height):
        from PIL import Image

        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def to_rgb(image: Image) -> Image:
    """Upright RGB of a decoded image: EXIF orientation applied, transparency laid on white."""
    from PIL import Image

    upright = _upright(image)
    if upright.mode.startswith("I;16"):
        upright = upright.convert("I").point(lambda value: value / 256).convert("L")
    if upright.mode in ("RGBA", "LA", "PA", "La") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, layer)
    return upright.convert("RGB")


def _upright(image: Image) -> Image:
    """The image turned as its EXIF says; EXIF that cannot be read says nothing."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(0x0112)
    except (OSError, SyntaxError, ValueError, struct.error):
        return image
    turn = turns.get(orientation or 1)
    return image if turn is None else image.transpose(turn)


def _open(source: bytes | Path | NDArray[np.uint8]) -> Image:
    from PIL import Image, UnidentifiedImageError

    if not isinstance(source, (bytes, Path)):
        return Image.fromarray(source)
    data = source.read_bytes() if isinstance(source, Path) else source
    what = str(source) if isinstance(source, Path) else f"{len(data)} bytes"
    if not data:
        raise DataError(f"{what}: empty, expected a photo.")
    Image.MAX_IMAGE_PIXELS = None  # its own limit warns on stderr; ours is below
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"{what}: {image.width}x{image.height} pixels, at most {MAX_PIXELS} are read. "
                "Make a smaller copy."
            )
        image.load()
    except UnidentifiedImageError as error:
        raise DataError(f"{what}: not an image that Pillow can read.") from error
    except _DAMAGE as error:
        raise DataError(f"{what}: damaged ({error}).") from error
    return image
