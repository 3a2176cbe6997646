"""What a float model's tensors hold on the calibration set: ranges, and the means of layer inputs.

The converter's own calibrator computes the same ranges in one thread of slow kernels; here LiteRT
runs the images in several interpreters, and the means come along for bias correction.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tledge.errors import ConversionError
from tledge.quiet import native_stderr_closed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS = 4
"""Shares that the images are measured in: fixed, so that sums do not depend on the processors."""


@dataclass(frozen=True)
class Measured:
    """By number of the tensor: (least, largest) value, and float32 mean over the images.

    `extremes` are the positions of images that hold the least or largest value of some tensor.
    """

    images: int
    ranges: Mapping[int, tuple[float, float]]
    means: Mapping[int, NDArray[np.float32]]
    extremes: tuple[int, ...]


def measure(
    model: bytes, images: NDArray[np.uint8], ranged: tuple[int, ...], averaged: tuple[int, ...]
) -> Measured:
    """Run a float model on images uint8[N, H, W, 3] as float32 0..255.

    Gives the range of every tensor in `ranged` and the mean of every tensor in `averaged`. Raises
    ConversionError where a tensor holds NaN or infinity.
    """
    parts = [range(first, len(images), PARTS) for first in range(min(PARTS, len(images)))]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(lambda part: _part(model, images, part, ranged, averaged), parts))
    lowest = {one: min(part.low[one] for part in found) for one in ranged}
    highest = {one: max(part.high[one] for part in found) for one in ranged}
    ranges = {one: (lowest[one][0], highest[one][0]) for one in ranged}
    if broken := [one for one, (low, high) in ranges.items() if not math.isfinite(high - low)]:
        raise ConversionError(f"{len(broken)} tensors of the float model hold NaN or infinity: train again.")
    return Measured(
        len(images),
        ranges,
        {one: sum(part.sums[one] for part in found) / len(images) for one in averaged},
        tuple(sorted({lowest[one][1] for one in ranged} | {-highest[one][1] for one in ranged})),
    )


@dataclass(frozen=True)
class _Part:
    """Of one share: the least value and its image, the largest and minus its image, and sums."""

    low: dict[int, tuple[float, int]]
    high: dict[int, tuple[float, int]]
    sums: dict[int, Any]


def _part(
    model: bytes,
    images: NDArray[np.uint8],
    part: range,
    ranged: tuple[int, ...],
    averaged: tuple[int, ...],
) -> _Part:
    import numpy as np

    interpreter = _interpreter(model)
    first = interpreter.get_input_details()[0]["index"]
    found = _Part({}, {}, {})
    for place in part:
        interpreter.set_tensor(first, images[place][None].astype(np.float32))
        interpreter.invoke()
        # Views of LiteRT's memory must be gone before the next invoke.
        for one in ranged:
            low, high = float(interpreter.tensor(one)().min()), float(interpreter.tensor(one)().max())
            found.low[one] = min(found.low.get(one, (low, place)), (low, place))
            found.high[one] = max(found.high.get(one, (high, -place)), (high, -place))
        for one in averaged:
            if one in found.sums:
                found.sums[one] += interpreter.tensor(one)()[0]
            else:
                found.sums[one] = interpreter.tensor(one)()[0].copy()
    return found


def _interpreter(model: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with native_stderr_closed():
        made = Interpreter(
            model_content=model,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
        made.allocate_tensors()
    return made
