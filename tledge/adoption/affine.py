"""Describe how bytes become a model's input, each channel scaled by itself, and compose such steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tledge.preprocessing.scaling import Scaling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


IN_RGB, IN_BGR = (0, 1, 2), (2, 1, 0)
"""For each channel of the output, the channel of the input that it is made of."""


@dataclass(frozen=True)
class Affine:
    """`output[c] = input[order[c]] * scale[c] + offset[c]` for each channel `c` of three."""

    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    order: tuple[int, ...] = IN_RGB

    @property
    def is_identity(self) -> bool:
        """Tell whether nothing is changed."""
        return self == Affine()

    def after(self, first: Affine) -> Affine:
        """Return the affine that applies `first`, then this one."""
        return Affine(
            tuple(first.scale[o] * s for o, s in zip(self.order, self.scale, strict=True)),
            tuple(
                first.offset[o] * s + b for o, s, b in zip(self.order, self.scale, self.offset, strict=True)
            ),
            tuple(first.order[o] for o in self.order),
        )

    def range_of(self, high: float) -> tuple[float, float]:
        """Return the smallest and the largest output for inputs from 0 to `high`."""
        ends = [b + s * x for s, b in zip(self.scale, self.offset, strict=True) for x in (0.0, high)]
        return min(ends), max(ends)


def of_scaling(scaling: Scaling) -> Affine:
    """Return a scaling of bytes as an affine; its figures are in the order of the model's channels."""
    mean, std = (values * (3 // len(values)) for values in (scaling.mean, scaling.std))
    return Affine(
        tuple(1 / s for s in std),
        tuple(-m / s for m, s in zip(mean, std, strict=True)),
        IN_RGB if scaling.order == "RGB" else IN_BGR,
    )


def measure(function: Callable[[NDArray[np.float32]], Any], size: tuple[int, int]) -> Affine | None:
    """Find out by trying which affine a function of images float32[N, H, W, 3] is; None if it is none."""
    import numpy as np

    zero = np.asarray(function(np.zeros((1, *size, 3), np.float32)), np.float64)
    if zero.shape != (1, *size, 3):
        return None
    slopes = np.stack([_slope(function, size, channel, zero) for channel in range(3)])
    order = tuple(int(channel) for channel in np.abs(slopes).argmax(0))
    if sorted(order) != [0, 1, 2]:
        return None
    scale = tuple(float(slopes[order[channel], channel]) for channel in range(3))
    found = Affine(scale, tuple(float(value) for value in zero[0, 0, 0]), order)
    return found if _agrees(function, size, found) else None


def _slope(function: Callable[..., Any], size: tuple[int, int], channel: int, zero: Any) -> Any:
    import numpy as np

    image = np.zeros((1, *size, 3), np.float32)
    image[..., channel] = 1.0
    return (np.asarray(function(image), np.float64) - zero)[0, 0, 0]


def _agrees(function: Callable[..., Any], size: tuple[int, int], affine: Affine) -> bool:
    """Compare on an image with many values, different at every place."""
    import numpy as np

    count = size[0] * size[1] * 3
    image = (np.arange(count, dtype=np.float32) * 7 % 256).reshape(1, *size, 3)
    expected = image[..., list(affine.order)] * np.array(affine.scale) + np.array(affine.offset)
    output = np.asarray(function(image), np.float64)
    return bool(np.allclose(output, expected, rtol=1e-4, atol=1e-3 * max(map(abs, affine.scale)) * 255))
