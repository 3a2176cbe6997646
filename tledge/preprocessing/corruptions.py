"""Corrupt preprocessed images as cameras, light and compression do, to see whether predictions hold.

The kinds are those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations" (2019) that a camera on a device shows: blur, shake, sensor noise, wrong exposure, haze,
compression, too few pixels and a light that is not white. Every kind has three levels, weak to strong.

They change the preprocessed pixels, which are what the golden set of a run holds: so a run can be tested
without its photos, and lengths are pixels of the model's input, whatever the size of the photo was.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    """uint8[H, W, 3], RGB."""

LEVELS = (1, 2, 3)
"""The levels of each corruption, weak to strong."""

TRUNCATE = 4.0
"""Standard deviations after which the Gaussian kernel ends, as in SciPy and scikit-image."""

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Steps in rows and columns of a motion: horizontal, vertical and both diagonals."""


@dataclass(frozen=True)
class Corruption:
    """A way in which images get worse.

    Attributes:
        name: Name in reports and recipes.
        strengths: The strength of each level, in the unit that `meaning` names.
        meaning: What is done, and the unit of the strength.
        apply: Function of an image uint8[H, W, 3], a strength and a random generator.
    """

    name: str
    strengths: tuple[float, float, float]
    meaning: str
    apply: Callable[[Image, float, Generator], Image]


def corrupt(image: Image, name: str, level: int, seed: int, number: int) -> Image:
    """Corrupt one image, uint8[H, W, 3]; the same arguments give the same pixels.

    Args:
        image: The preprocessed image.
        name: A name of `CORRUPTIONS`.
        level: 1 to 3.
        seed: Seed of what is random, alike for all levels: noise, and the directions of motion and cast.
        number: Number of the image in its set, so that each image gets a noise of its own.

    Raises:
        KeyError: There is no corruption of this name.
        ValueError: `level` is not one of `LEVELS`.
    """
    import numpy as np

    corruption = CORRUPTIONS[name]
    if level not in LEVELS:
        raise ValueError(f"level {level}: expected 1, 2 or 3")
    generator = np.random.default_rng([seed, crc32(name.encode()), number])
    return corruption.apply(image, corruption.strengths[level - 1], generator)


def _as_bytes(values: NDArray[Any]) -> Image:
    import numpy as np

    rounded: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def _weighted_sum(image: Image, steps: list[tuple[int, int]], weights: list[float]) -> NDArray[np.float32]:
    """Add up copies of an image, each shifted by rows and columns; pixels of the border are repeated."""
    import numpy as np

    rows, columns = (max(abs(step[axis]) for step in steps) for axis in (0, 1))
    height, width = image.shape[:2]
    padded = np.pad(image.astype(np.float32), ((rows, rows), (columns, columns), (0, 0)), mode="edge")
    total = np.zeros(image.shape, np.float32)
    for (row, column), weight in zip(steps, weights, strict=True):
        top, left = rows + row, columns + column
        total += np.float32(weight) * padded[top : top + height, left : left + width]
    return total


def _blur(image: Image, sigma: float, _generator: Generator) -> Image:
    """Blur by a Gaussian of `sigma` pixels, out of focus; first along the columns, then along the rows."""
    import numpy as np

    radius = int(TRUNCATE * sigma + 0.5)
    offsets = list(range(-radius, radius + 1))
    kernel = np.exp(-0.5 * (np.array(offsets) / sigma) ** 2)
    weights = (kernel / kernel.sum()).tolist()
    blurred = _weighted_sum(image, [(offset, 0) for offset in offsets], weights)
    return _as_bytes(_weighted_sum(blurred, [(0, offset) for offset in offsets], weights))  # type: ignore[arg-type]


def _motion_blur(image: Image, length: float, generator: Generator) -> Image:
    """Average `length` pixels along a line in one of four directions, drawn for each image."""
    row, column = DIRECTIONS[int(generator.integers(len(DIRECTIONS)))]
    half = int(length) // 2
    steps = [(row * offset, column * offset) for offset in range(-half, half + 1)]
    return _as_bytes(_weighted_sum(image, steps, [1 / len(steps)] * len(steps)))


def _noise(image: Image, sigma: float, generator: Generator) -> Image:
    """Add Gaussian noise of `sigma` grey levels, drawn for each pixel and channel."""
    import numpy as np

    return _as_bytes(image + np.float32(sigma) * generator.standard_normal(image.shape, np.float32))


def _gain(image: Image, factor: float, _generator: Generator) -> Image:
    """Multiply all pixels, as another exposure does; what becomes too bright is white."""
    import numpy as np

    return _as_bytes(image * np.float32(factor))


def _low_contrast(image: Image, factor: float, _generator: Generator) -> Image:
    """Move all pixels towards the mean of their image, as haze and dirty lenses do."""
    import numpy as np

    mean = np.float32(image.mean(dtype=np.float64))
    return _as_bytes(mean + np.float32(factor) * (image - mean))


def _jpeg(image: Image, quality: float, _generator: Generator) -> Image:
    """Write and read a JPEG of a low quality, with halved colour resolution."""
    import numpy as np
    from PIL import Image as pillow

    file = io.BytesIO()
    pillow.fromarray(image).save(file, "JPEG", quality=int(quality), subsampling="4:2:0")
    return np.asarray(pillow.open(file), np.uint8)


def _low_resolution(image: Image, factor: float, _generator: Generator) -> Image:
    """Average blocks of `factor` times `factor` pixels, and enlarge the result by bilinear interpolation.

    Pillow averages blocks as well, but rounds the mean of three pixels wrongly by up to two thirds.
    """
    import numpy as np
    from PIL import Image as pillow

    shape, blocks = (image.shape[1], image.shape[0]), np.ones(image.shape, np.float32)
    for axis in (0, 1):
        starts = np.arange(0, image.shape[axis], int(factor))
        image, blocks = (np.add.reduceat(array, starts, axis, np.float32) for array in (image, blocks))
    means = [pillow.fromarray(channel) for channel in np.moveaxis(image / blocks, 2, 0)]
    return _as_bytes(
        np.dstack([np.asarray(mean.resize(shape, pillow.Resampling.BILINEAR)) for mean in means])
    )


def _colour_cast(image: Image, strength: float, generator: Generator) -> Image:
    """Strengthen red and weaken blue, as warm light does, or the other way round, drawn for each image."""
    import numpy as np

    warm = strength if generator.integers(2) else -strength
    return _as_bytes(image * np.array([1 + warm, 1, 1 - warm], np.float32))


CORRUPTIONS = {
    corruption.name: corruption
    for corruption in (
        Corruption("blur", (1, 2, 3), "Gaussian blur; standard deviation in pixels", _blur),
        Corruption("motion-blur", (5, 9, 15), "blur along a line; length in pixels", _motion_blur),
        Corruption("noise", (8, 16, 32), "Gaussian noise; standard deviation in grey levels", _noise),
        Corruption("dark", (0.6, 0.4, 0.25), "under-exposed; factor of all pixels", _gain),
        Corruption("bright", (1.3, 1.6, 2.0), "over-exposed; factor of all pixels", _gain),
        Corruption(
            "low-contrast", (0.6, 0.4, 0.25), "haze; factor of the distance to the mean", _low_contrast
        ),
        Corruption("jpeg", (30, 15, 8), "compressed; quality of the JPEG", _jpeg),
        Corruption("low-resolution", (2, 3, 4), "too few pixels; factor of the reduction", _low_resolution),
        Corruption("colour-cast", (0.1, 0.2, 0.3), "coloured light; change of red and blue", _colour_cast),
    )
}
"""Every corruption by its name."""
