"""Take a photo in any form that a caller may have it, or say why it is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.errors import DataError
from tledge.preprocessing import image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8] | Image
    """A file, an encoded photo, pixels uint8[H, W, 3] in RGB, or an image of Pillow."""

FORMS = "a path, the bytes of a photo, a PIL image or pixels uint8[height, width, 3] in RGB"


def read_form(photo: object, pixel_range: tuple[float, ...] = ()) -> Path | bytes | NDArray[np.uint8]:
    """Return a photo as `image.preprocess` takes it.

    Raises:
        DataError: It is none, or its pixels are of another type or shape.
    """
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return bytes(photo)
    if isinstance(photo, (str, os.PathLike)):
        return _path(photo)
    pillow = sys.modules.get("PIL.Image")  # who has such an image has loaded it
    if pillow is not None and isinstance(photo, pillow.Image):
        return image.pixels_of(photo, pixel_range)
    if hasattr(type(photo), "__array__"):
        return _pixels(photo)
    raise DataError(f"expected {FORMS}; got {_shown(photo)}.")


def read_pixels(photo: Photo, pixel_range: tuple[float, ...] = ()) -> NDArray[np.uint8]:
    """Return the upright pixels uint8[H, W, 3] of a photo, in its own size.

    Raises:
        DataError: It is none, or cannot be read.
    """
    form = read_form(photo, pixel_range)
    if isinstance(form, (bytes, Path)):
        return image.decode(form if isinstance(form, bytes) else image.read_photo(form), pixel_range)[0]
    return form


def _path(photo: str | os.PathLike[str]) -> Path:
    try:
        text = os.fspath(photo)
        is_path = isinstance(text, str) and bool(text) and b"\0" not in os.fsencode(text)
    except Exception:  # characters that no path has, or an object that says it is a path and is none
        is_path = False
    if not is_path:
        raise DataError(f"expected {FORMS}; got {_shown(photo)}, which is no path.")
    return Path(text)


def _pixels(photo: Any) -> NDArray[np.uint8]:
    """Return the pixels of an array of any library; raise DataError unless they are uint8[H, W, 3]."""
    import numpy as np

    try:
        pixels: NDArray[Any] = np.asarray(photo)
    except Exception as error:  # an array of another library may have no values, or lie elsewhere
        raise DataError(f"expected {FORMS}; got {_shown(photo)} ({error}).") from error
    found = f"{pixels.dtype}{list(pixels.shape)}"
    if pixels.dtype != np.uint8:
        advice = "Values from 0 to 1 become pixels with (255 * values).round().astype('uint8')."
        raise DataError(f"pixels: expected uint8[height, width, 3]; got {found}. {advice}")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        advice = "PIL.Image.fromarray(pixels) takes grey and transparent ones, predict_all several photos."
        raise DataError(f"pixels: expected uint8[height, width, 3] in RGB; got {found}. {advice}")
    if not pixels.size:
        raise DataError(f"pixels: expected uint8[height, width, 3]; got {found}, which is empty.")
    if pixels.size // 3 > image.MAX_PIXELS:
        raise DataError(f"pixels: too large, {found}; at most {image.MAX_PIXELS} pixels are read.")
    return pixels


def _shown(photo: object) -> str:
    is_short = photo is None or isinstance(photo, (bool, int, float, str))
    return repr(photo)[:60] if is_short else type(photo).__name__
