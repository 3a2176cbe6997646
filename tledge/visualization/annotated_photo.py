"""Save a copy of a photo with its prediction in a strip below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

SURE, UNSURE, TEXT = "#1f2937", "#92400e", "#ffffff"
"""Colours of the strip of a sure and an unsure prediction, and of the text on both."""

MOST = 80
"""Characters of a caption."""

SMALLEST, LARGEST = 14, 120
"""Height of the letters in pixels; between, a 24th of the photo's width."""


def save(pixels: NDArray[np.uint8], caption: str, is_unsure: bool, path: Path) -> None:
    """Write pixels uint8[H, W, 3] and the caption below them as a JPEG, atomically; make its folder.

    Raises ResourceError where it cannot be written.
    """
    copy = annotated(pixels, caption, is_unsure)
    with atomic.replacing(path) as unfinished:
        copy.save(unfinished, "JPEG", quality=90)


def annotated(pixels: NDArray[np.uint8], caption: str, is_unsure: bool) -> Image:
    """Draw pixels uint8[H, W, 3] with a caption in a strip below, which is wider where the text needs it."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = pixels.shape[:2]
    text = caption if len(caption) <= MOST else f"{caption[: MOST - 1]}…"
    size = min(max(SMALLEST, width // 24), LARGEST)
    font = ImageFont.load_default(size)
    room = round(font.getlength(text)) + size
    page = Image.new("RGB", (max(width, room), height + 2 * size), UNSURE if is_unsure else SURE)
    page.paste(Image.fromarray(pixels), ((page.width - width) // 2, 0))
    pen = ImageDraw.Draw(page)
    pen.text((page.width // 2, height + size), text, TEXT, font, anchor="mm")
    return page
