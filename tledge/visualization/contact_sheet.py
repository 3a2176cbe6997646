"""Contact sheets: many small pictures with captions in one PNG, drawn with Pillow alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST = 60
"""Pictures on a sheet."""

COLUMNS = 10

SIDE = 112
"""Pixels of a picture's longer side."""

_GAP = 12
_MARGIN = 24
_TITLE_SIZE, _CAPTION_SIZE = 18, 12
_TITLE_ROOM, _CAPTION_ROOM = 40, 22
_LINE_ROOM = 16
_WHITE, _DARK, _GREY, _LINE = "#ffffff", "#2d3748", "#4a5568", "#e2e8f0"


def sheet(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    path: Path,
    title: str,
    below: Sequence[Sequence[str]] = (),
) -> None:
    """Draw the first 60 of uint8[N, H, W, 3], each over its caption, ten to a row, to a PNG at `path`.

    Every entry of `below` is one more line of captions, a text for each image.
    Text that is too long ends in "…", and what its font lacks is a box. The bytes depend on the
    arguments and on Pillow's version alone. The file is written in place: give the path of a
    temporary one to have it appear at once.
    Raises ValueError unless there are as many captions as images.
    """
    from PIL import Image, ImageDraw, ImageFont

    lines = (captions, *below)
    for line in lines:
        if len(images) != len(line):
            raise ValueError(f"{len(images)} images need as many captions, got {len(line)}.")
    cell = SIDE + _CAPTION_ROOM + _LINE_ROOM * len(below) + _GAP
    count = min(len(images), MOST)
    columns = min(max(count, 4), COLUMNS)  # four leave the title some room
    rows = -(-count // COLUMNS)
    width = 2 * _MARGIN + columns * (SIDE + _GAP) - _GAP
    height = 2 * _MARGIN + _TITLE_ROOM + rows * cell - _GAP
    page = Image.new("RGB", (width, height), _WHITE)
    pen = ImageDraw.Draw(page)
    heading, small = ImageFont.load_default(_TITLE_SIZE), ImageFont.load_default(_CAPTION_SIZE)
    pen.text((_MARGIN, _MARGIN), _fitted(title, heading, width - 2 * _MARGIN), _DARK, heading)
    for number in range(count):
        row, column = divmod(number, COLUMNS)
        left = _MARGIN + column * (SIDE + _GAP)
        top = _MARGIN + _TITLE_ROOM + row * cell
        _place(page, pen, images[number], (left, top))
        for under, line in enumerate(lines):
            corner = (left, top + SIDE + 4 + under * _LINE_ROOM)
            pen.text(corner, _fitted(line[number], small, SIDE), _GREY, small)
    page.save(path, "PNG", compress_level=3)  # photos hardly shrink further, and it is waited for


def _place(page: Any, pen: Any, pixels: NDArray[np.uint8], corner: tuple[int, int]) -> None:
    """One picture in the middle of its square, in a thin frame that shows where a white one ends."""
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    left, top = (place + (SIDE - length) // 2 for place, length in zip(corner, size, strict=True))
    page.paste(image.resize(size, Image.Resampling.LANCZOS), (left, top))
    pen.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=_LINE)


def _fitted(text: str, font: Any, width: int) -> str:
    """The text on one line, cut to `width` pixels with "…"."""
    line = _plain(text)
    if font.getlength(line) <= width:
        return line
    kept = len(line)
    while kept and font.getlength(line[:kept].rstrip() + "…") > width:
        kept -= 1
    return line[:kept].rstrip() + "…"


def _plain(text: str) -> str:
    """Letters without accents and plain dashes: Pillow's own font draws no others, but a box."""
    kinds = ((one, unicodedata.category(one)) for one in unicodedata.normalize("NFKD", text))
    plain = ("-" if kind == "Pd" else one for one, kind in kinds if kind != "Mn")
    return " ".join("".join(one if one.isprintable() else " " for one in plain).split())
