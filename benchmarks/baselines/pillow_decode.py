"""Bare Pillow: decode and resize all photos of a folder on all cores: python pillow_decode.py PHOTOS."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image


def one(path: Path) -> np.ndarray:
    """Decode one photo as uint8[160, 160, 3]."""
    return np.asarray(Image.open(path).convert("RGB").resize((160, 160), Image.Resampling.BILINEAR))


def decode(folder: Path) -> np.ndarray:
    """Decode all photos below `folder` as uint8[N, 160, 160, 3]."""
    paths = sorted(folder.rglob("*.jpg"))
    images = np.empty((len(paths), 160, 160, 3), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, pixels in enumerate(pool.map(one, paths)):
            images[number] = pixels
    return images


if __name__ == "__main__":
    started = time.perf_counter()
    count = len(decode(Path(sys.argv[1])))
    print(f"{count / (time.perf_counter() - started):.0f} images a second")
