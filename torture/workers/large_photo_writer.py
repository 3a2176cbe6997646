"""Write photos of 100 megapixels: `python -m torture.workers.large_photo_writer FOLDER COUNT`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from torture.inputs.odd_photos import encode, sample_image


def noisy(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """Enlarge a small image to one that compresses a little."""
    return sample_image(mode, 100, 100).resize((width, height), Image.Resampling.NEAREST)


def write_large(folder: Path, count: int) -> None:
    """Write `count` of the whole photos of 100 megapixels: with alpha, turned, of 16 bits."""
    side, quick = 10_000, {"compress_level": 1}
    turned = Image.Exif()
    turned[0x112] = 6
    grey = Image.fromarray(np.repeat(np.arange(side, dtype=np.uint16)[:, None] * 6, side, axis=1))
    writers: dict[str, Callable[[], bytes]] = {
        ", alpha.png": lambda: encode(noisy(side, side, "RGBA"), "PNG", **quick),
        ", turned.jpg": lambda: encode(noisy(side, side), "JPEG", exif=turned.tobytes()),
        ".jpg": lambda: encode(noisy(side, side), "JPEG"),
        ", progressive.jpg": lambda: encode(noisy(side, side), "JPEG", progressive=True),
        ", grey16.png": lambda: encode(grey, "PNG", **quick),
    }
    for name in list(writers)[:count]:
        (folder / f"100 megapixels{name}").write_bytes(writers[name]())


if __name__ == "__main__":
    write_large(Path(sys.argv[1]), int(sys.argv[2]))
