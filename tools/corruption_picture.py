"""Draw every corruption at its three levels beside the photo: `corruption_picture.py PHOTO OUT.webp`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tledge.preprocessing import image
from tledge.preprocessing.corruptions import CORRUPTIONS, LEVELS, corrupt

SIDE, GAP, CAPTION = 160, 6, 22
"""Pixels of a picture's side, between two pictures, and of the line of text above a row of them."""

COLUMNS = 2
"""Corruptions beside each other."""


def block(pixels: NDArray[np.uint8], name: str) -> Image.Image:
    """Draw the three levels of a corruption under its name and strengths."""
    corruption = CORRUPTIONS[name]
    width = len(LEVELS) * (SIDE + GAP)
    drawn = Image.new("RGB", (width, SIDE + CAPTION + GAP), "white")
    strengths = ", ".join(f"{strength:g}" for strength in corruption.strengths)
    text = f"{name}: {strengths}"
    ImageDraw.Draw(drawn).text((0, 3), text, "black", ImageFont.load_default(14))
    for level in LEVELS:
        shown = Image.fromarray(corrupt(pixels, name, level, seed=0, number=4))
        drawn.paste(shown, ((level - 1) * (SIDE + GAP), CAPTION))
    return drawn


def main(photo: str, out: str) -> None:
    """Write the sheet; its format is that of the file's ending."""
    pixels = image.preprocess(Path(photo), (SIDE, SIDE))
    blocks = [block(pixels, name) for name in CORRUPTIONS]
    width, height = blocks[0].size
    rows = -(-len(blocks) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + 2 * GAP), rows * height), "white")
    for number, drawn in enumerate(blocks):
        row, column = divmod(number, COLUMNS)
        sheet.paste(drawn, (column * (width + 2 * GAP), row * height))
    sheet.paste(Image.fromarray(pixels), (width + 2 * GAP, (rows - 1) * height + CAPTION))
    ImageDraw.Draw(sheet).text(
        (width + 2 * GAP, (rows - 1) * height + 3), "unchanged", "black", ImageFont.load_default(14)
    )
    sheet.save(out, quality=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
