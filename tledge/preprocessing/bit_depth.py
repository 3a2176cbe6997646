"""Turn pixels deeper than 8 bits into 8 bits by one rule; refuse them where the rule cannot know their range.

- 16 bits: `value >> 8`, refused where no pixel reaches a quarter of the range: these are 12 or 14 bits in 16.
- Floats: 0..1 become 0..255; other floats are refused. Whole numbers of 32 bits and signed ones are refused.
- Where the file states the range (PGM's largest value, 12 packed bits in a TIFF), that range counts.
- With a `pixel_range` (low, high), `255 * (value - low) / (high - low)`, rounded and clipped.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tledge.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PixelRange = tuple[float, ...]
"""The values of black and white in pixels deeper than 8 bits; empty where nobody said."""

QUARTER = 1 << 14
"""Values of 16-bit pixels below this alone leave two bits or more unused."""

USUAL_LARGEST = (255, 1023, 4095, 16383, 65535)
"""Largest values of 8, 10, 12, 14 and 16 bits."""

PIXEL_RANGE = "[data] pixel_range"
"""The recipe's key for the range."""

ADVICE = f"Set {PIXEL_RANGE} = {{}} in the recipe of the model, or save the photo with 8 bits"
"""What to do where the range is not known; prepared to hold a range."""

COLOUR = ("RGB;16", "RGBA;16")
"""What `describe` calls colour of 16 bits, which Pillow reduces to 8 bits itself."""

FULL_PPM = 65535
"""Largest value of a PPM, which says nothing: programs write it for any 16-bit image."""

BAND = 256
"""Rows that are converted at a time."""

_PHOTOMETRIC, _BITS = 262, 258
"""TIFF's tags for what 0 means, and for the bits of a pixel."""


def describe(image: Image) -> str:
    """Describe pixels deeper than 8 bits of an opened image that is not decoded yet; "" for up to 8 bits.

    Returns "L;12", "L;16", "L;32" (also for 16 bits with a sign), "L;32F", "L;scaled" (16 bits that
    Pillow has stretched from the range of the file), "RGB;16" or "RGBA;16".
    """
    tile = _first_tile(image)
    if image.mode == "F":
        return "L;32F"
    if image.mode.startswith("I;16"):
        return "L;12" if _tag(image, _BITS) in (12, (12,)) else "L;16"
    if image.mode == "I":
        if image.format == "PPM":
            return "L;16" if "I;16B" in tile else "L;scaled"
        return "L;32"
    is_deep = any(";16" in str(part) or part == FULL_PPM for part in tile)
    return f"{image.mode};16" if is_deep and f"{image.mode};16" in COLOUR else ""


def _first_tile(image: Any) -> tuple[Any, ...]:
    """Return the arguments that Pillow passes to the decoder: the first says how pixels are stored."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ()
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _tag(image: Any, number: int) -> Any:
    tags = getattr(image, "tag_v2", None)
    return tags.get(number) if tags is not None else None


def to_8_bits(
    image: Image,
    stored: str,
    pixel_range: PixelRange,
    name: str,
    reopen: Callable[[], Image] | None = None,
) -> Image:
    """Return a decoded image with 8 bits.

    Args:
        image: The image, decoded.
        stored: What `describe` returned for it.
        pixel_range: The values of black and white, if the recipe has them.
        name: The name of the photo in errors.
        reopen: Opens the photo again: Pillow drops half of the bits of deep colour. Not needed for grey.

    Raises:
        DataError: The range of the pixels is not known, or they are not numbers.
    """
    if stored in COLOUR:
        return _colour(image, stored, pixel_range, name, reopen)
    low, high = _extremes(image)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(f"{name}: has pixels that are not numbers. Save the photo with 8 bits.")
    if stored not in ("L;scaled", "L;12") and pixel_range:
        black, white = pixel_range
    else:
        black, white = _known_range(stored, low, high, name)
    if _tag(image, _PHOTOMETRIC) == 0:  # Pillow inverts 8 bits alone
        black, white = white, black
    return _stretch(image, black, white)


def _known_range(stored: str, low: float, high: float, name: str) -> tuple[float, float]:
    """Return the values of black and white that follow from how pixels are stored; else raise DataError.

    The white of whole numbers is one above the largest, so that 16 bits become `value >> 8`.
    """
    if stored == "L;12":
        return 0, 4096
    if stored == "L;scaled" or (stored == "L;16" and high >= QUARTER):
        return 0, 65536
    if stored == "L;32F" and low >= 0 and high <= 1:
        return 0, 1
    kinds = {"L;16": "16-bit", "L;32": "32-bit or signed", "L;32F": "floating-point"}
    unknown = f"{name}: {kinds[stored]} pixels from {low:.6g} to {high:.6g}, so the values of black and white"
    raise DataError(f"{unknown} are not known. {ADVICE.format(_suggest(low, high))}.")


def _suggest(low: float, high: float) -> str:
    """Return the range that pixels of these values probably have."""
    if low < 0 or high > USUAL_LARGEST[-1]:
        return f"[{math.floor(low)}, {max(math.ceil(high), math.floor(low) + 1)}]"
    return f"[0, {next(largest for largest in USUAL_LARGEST if high <= largest)}]"


def _bands(image: Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row, and the pixels, of some rows at a time."""
    import numpy as np

    for top in range(0, image.height, BAND):
        yield top, np.asarray(image.crop((0, top, image.width, min(top + BAND, image.height))))


def _extremes(image: Image) -> tuple[float, float]:
    extremes = [(float(band.min()), float(band.max())) for _top, band in _bands(image)]
    return min(low for low, _high in extremes), max(high for _low, high in extremes)


def _stretch(image: Image, black: float, white: float) -> Image:
    """Return a grey image in which `black` is 0 and `white` is 255; transparent pixels stay so."""
    from PIL import Image as images

    transparent = image.info.get("transparency")
    grey = images.new("L" if transparent is None else "LA", image.size)
    for top, band in _bands(image):
        part = images.fromarray(_bytes(band, black, white))
        if transparent is not None:
            part.putalpha(images.fromarray((band != transparent) * _uint8(255)))
        grey.paste(part, (0, top))
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return grey


def _uint8(value: int) -> Any:
    import numpy as np

    return np.uint8(value)


def _bytes(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    """Scale values so that `black` becomes 0 and `white` 255, rounded and clipped; 16 bits are shifted."""
    import numpy as np

    if (black, white) in ((0, 65536), (0, 4096)):
        return np.asarray(values.astype(np.int32) // (int(white) // 256), np.uint8)
    if (black, white) in ((65536, 0), (4096, 0)):
        return np.asarray(255 - values.astype(np.int32) // (int(black) // 256), np.uint8)
    shares = (values.astype(np.float64) - black) / (white - black)
    return np.asarray(np.floor(shares.clip(0, 1) * 255 + 0.5), np.uint8)


def _colour(
    image: Image, stored: str, pixel_range: PixelRange, name: str, reopen: Callable[[], Image] | None
) -> Image:
    """Return colour of 16 bits with 8 bits; Pillow has taken the upper half of each value already."""
    if not pixel_range:
        highest = [high for _low, high in image.getextrema()]  # type: ignore[misc]
        colour, alpha = max(highest[:3]), highest[3:]
        if colour < QUARTER >> 8 or (alpha and alpha[0] < QUARTER >> 8):
            largest = _suggest(0, (colour << 8) + 255)
            raise DataError(
                f"{name}: 16-bit pixels that leave upper bits unused, so the values of black and white are "
                f"not known. {ADVICE.format(largest)}."
            )
        return image
    if stored != "RGB;16" or image.format not in ("PNG", "TIFF") or reopen is None:
        raise DataError(
            f"{name}: [data] pixel_range applies to 16-bit colour in PNG and TIFF without transparency. Save "
            "the photo as one of these, or with 8 bits."
        )
    lower = _lower_halves(reopen())
    return _stretch_colour(image, lower, *pixel_range)


def _lower_halves(image: Any) -> Image:
    """Return the lower 8 bits of colour of 16 bits: decode it with the order of the bytes swapped.

    Pillow keeps the byte that the raw mode of a tile, such as "RGB;16B", says is the upper one.
    """
    image.tile = [tile._replace(args=_swapped(tile.args)) for tile in image.tile]
    image.load()
    loaded: Image = image
    return loaded


def _swapped(arguments: Any) -> Any:
    native = "L" if sys.byteorder == "big" else "B"
    other = {";16B": ";16L", ";16L": ";16B", ";16N": f";16{native}"}
    if isinstance(arguments, tuple):
        return tuple(map(_swapped, arguments))
    if isinstance(arguments, str) and arguments[-4:] in other:
        return arguments[:-4] + other[arguments[-4:]]
    return arguments


def _stretch_colour(upper: Image, lower: Image, black: float, white: float) -> Image:
    from PIL import Image as images

    result = images.new("RGB", upper.size)
    for (top, above), (_top, below) in zip(_bands(upper), _bands(lower), strict=True):
        values = above.astype("int32") * 256 + below
        result.paste(images.fromarray(_bytes(values, black, white)), (0, top))
    result.info = {key: value for key, value in upper.info.items() if key != "transparency"}
    return result
