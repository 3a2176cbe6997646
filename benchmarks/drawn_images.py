"""Draw prepared images for `benchmarks.scaling`: different scenes, and what a fixed camera takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 32
"""Side of the images in pixels."""

BLOCK = 500
"""Images drawn at once."""


def write(path: Path, count: int, *, fixed_camera: bool) -> Path:
    """Write uint8[count, SIDE, SIDE, 3] as an `.npy` file, a block of images after another."""
    import numpy as np

    draw = _film if fixed_camera else _scenes
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, SIDE, SIDE, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, BLOCK):
            file.write(draw(min(BLOCK, count - start), start).tobytes())
    return path


def _scenes(count: int, seed: int) -> NDArray[np.uint8]:
    """Draw different scenes: cells of all sizes, the contrast of each in proportion, as in photos."""
    images = sum(_octaves(np_generator(seed), count))
    return (images + 128).clip(0, 255).astype("uint8")


def _octaves(rng: np.random.Generator, count: int) -> Iterator[NDArray[np.float32]]:
    """Yield images of 1, 2, 4 ... cells along each side."""
    cells = 1
    while cells <= SIDE:
        values = rng.normal(0, 45 / cells**0.5, (count, cells, cells, 3)).astype("float32")
        yield values.repeat(SIDE // cells, 1).repeat(SIDE // cells, 2)
        cells *= 2


def _film(count: int, seed: int) -> NDArray[np.uint8]:
    """Draw one room in changing light, a small thing somewhere else in each image, a sensor's noise."""
    rng = np_generator(seed)
    images = _scenes(1, 0).repeat(count, 0).astype("float32")
    for image in images:
        top, left = rng.integers(0, SIDE - 2, 2)
        image[top : top + 2, left : left + 2] = rng.integers(0, 256, 3)
    images += rng.uniform(-20, 20, (count, 1, 1, 1)) + rng.normal(0, 2, images.shape)
    return images.clip(0, 255).astype("uint8")


def np_generator(seed: int) -> np.random.Generator:
    """Return a generator of random numbers with this seed."""
    import numpy as np

    return np.random.default_rng(seed)
