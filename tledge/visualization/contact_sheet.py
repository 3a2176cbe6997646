"""Draw contact sheets with Pillow: many small images with captions in one PNG."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.visualization.plot_style import INK, LINE, PAPER, SOFT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_IMAGES = 60
"""Images on a sheet."""

COLUMNS = 10

SIDE = 112
"""Pixels of an image's longer side."""

_GAP = 12
_MARGIN = 24
_TITLE_SIZE, _CAPTION_SIZE = 18, 12
_TITLE_ROOM, _CAPTION_ROOM = 40, 22
_LINE_ROOM = 16


def sheet(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    path: Path,
    title: str,
    below: Sequence[Sequence[str]] = (),
) -> None:
    """Draw the first 60 images of uint8[N, H, W, 3] with captions, ten in a row, to a PNG at `path`.

    Every entry of `below` is a further line of captions, a text for each image. Text that is too long
    is cut with "…"; characters that the font lacks are boxes. The file is reproducible with one version
    of Pillow. It is written in place: pass a temporary path for an atomic write.

    Raises ValueError unless there are as many captions as images.
    """
    from PIL import Image, ImageDraw, ImageFont

    lines = (captions, *below)
    for line in lines:
        if len(images) != len(line):
            raise ValueError(f"{len(images)} images need as many captions, got {len(line)}.")
    cell = SIDE + _CAPTION_ROOM + _LINE_ROOM * len(below) + _GAP
    count = min(len(images), MAX_IMAGES)
    columns = min(max(count, 4), COLUMNS)  # four columns leave room for the title
    rows = -(-count // COLUMNS)
    width = 2 * _MARGIN + columns * (SIDE + _GAP) - _GAP
    height = 2 * _MARGIN + _TITLE_ROOM + rows * cell - _GAP
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    heading, small = ImageFont.load_default(_TITLE_SIZE), ImageFont.load_default(_CAPTION_SIZE)
    pen.text((_MARGIN, _MARGIN), _shortened(title, heading, width - 2 * _MARGIN), INK, heading)
    for number in range(count):
        row, column = divmod(number, COLUMNS)
        left = _MARGIN + column * (SIDE + _GAP)
        top = _MARGIN + _TITLE_ROOM + row * cell
        _draw_image(page, pen, images[number], (left, top))
        for under, line in enumerate(lines):
            corner = (left, top + SIDE + 4 + under * _LINE_ROOM)
            pen.text(corner, _shortened(line[number], small, SIDE), SOFT, small)
    page.save(path, "PNG", compress_level=3)  # more compression is slow and hardly shrinks photos


def _draw_image(page: Any, pen: Any, pixels: NDArray[np.uint8], corner: tuple[int, int]) -> None:
    """Draw an image in the middle of its square, with a thin frame for white borders."""
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    left, top = (place + (SIDE - length) // 2 for place, length in zip(corner, size, strict=True))
    page.paste(image.resize(size, Image.Resampling.LANCZOS), (left, top))
    pen.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=LINE)


def _shortened(text: str, font: Any, width: int) -> str:
    """Return the text on one line, cut to `width` pixels with "…"."""
    line = _plain(text)
    if font.getlength(line) <= width:
        return line
    length = len(line)
    while length and font.getlength(line[:length].rstrip() + "…") > width:
        length -= 1
    return line[:length].rstrip() + "…"


def _plain(text: str) -> str:
    """Remove accents and special dashes, which Pillow's own font draws as boxes."""
    categories = ((letter, unicodedata.category(letter)) for letter in unicodedata.normalize("NFKD", text))
    plain = ("-" if category == "Pd" else letter for letter, category in categories if category != "Mn")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in plain).split())
