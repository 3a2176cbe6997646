"""What a model's tensors hold on the calibration set: ranges, means, samples, channels.

The converter's own calibrator computes ranges in one thread of slow kernels; here LiteRT runs the
images in several interpreters, and all that repairing quantization needs comes along.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tledge._process.native_output import native_stderr_closed
from tledge.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS = 4
"""Shares that the images are measured in: fixed, so that sums do not depend on the processors."""

SAMPLES = 1024
"""Values taken of a tensor for each image, evenly spaced."""


@dataclass(frozen=True)
class Wanted:
    """Numbers of the tensors to measure: their ranges, means, samples of values, channels."""

    ranged: Sequence[int] = ()
    averaged: Sequence[int] = ()
    sampled: Sequence[int] = ()
    spread: Sequence[int] = ()


@dataclass(frozen=True)
class Measured:
    """By number of the tensor: (least, largest) value; float32 mean over the images; float32 sample
    of the values; float32[channels] largest magnitude of every channel.

    `extremes` are the positions of images that hold the least or largest value of some tensor;
    `spans` are the least and largest value of every image, float32[images, 2].
    """

    images: int
    ranges: Mapping[int, tuple[float, float]]
    means: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    samples: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    largest: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    extremes: tuple[int, ...] = ()
    spans: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)


def measure(model: bytes, images: NDArray[np.uint8], wanted: Wanted) -> Measured:
    """Run a model on images uint8[N, H, W, 3] and measure its tensors.

    A float input takes the bytes as numbers 0..255. Raises ConversionError where a tensor holds
    NaN or infinity.
    """
    import numpy as np

    shares = [range(first, len(images), PARTS) for first in range(min(PARTS, len(images)))]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(lambda share: _part(model, images, share, wanted), shares))
    spans = {one: _in_order([part.spans[one] for part in parts], shares) for one in wanted.ranged}
    ranges = {one: (float(span[:, 0].min()), float(span[:, 1].max())) for one, span in spans.items()}
    if broken := [one for one, (low, high) in ranges.items() if not math.isfinite(high - low)]:
        raise ConversionError(f"{len(broken)} tensors of the float model hold NaN or infinity: train again.")
    return Measured(
        len(images),
        ranges,
        {one: sum(part.sums[one] for part in parts) / len(images) for one in wanted.averaged},
        {
            one: np.concatenate([some for part in parts for some in part.samples[one]])
            for one in wanted.sampled
        },
        {one: np.max([part.largest[one] for part in parts], axis=0) for one in wanted.spread},
        tuple(sorted({int(at) for one in spans.values() for at in (one[:, 0].argmin(), one[:, 1].argmax())})),
        spans,
    )


def _in_order(parts: Sequence[Sequence[tuple[float, float]]], shares: Sequence[range]) -> NDArray[np.float32]:
    """What was found in every share, in the order of the images."""
    import numpy as np

    made = np.empty((sum(map(len, shares)), 2), np.float32)
    for part, share in zip(parts, shares, strict=True):
        made[share] = part
    return made


def mean_outputs(
    model: bytes, images: NDArray[np.uint8], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Mean float32[channels] of named tensors over images and positions, integers as real values."""
    details = {one["name"]: one for one in interpreter(model).get_tensor_details()}
    known = [details[name] for name in names if name in details]
    means = measure(model, images, Wanted(averaged=[int(one["index"]) for one in known])).means
    return {one["name"]: _real_mean(one, means[int(one["index"])]) for one in known}


def _real_mean(detail: dict[str, Any], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    scale, zero_point = detail["quantization"]
    channels = mean.reshape(-1, mean.shape[-1]).mean(0)
    return np.asarray((channels - zero_point) * scale if scale else channels, np.float32)


@dataclass(frozen=True)
class _Part:
    """Of one share: the least and largest value of every image, and the rest."""

    spans: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    sums: dict[int, Any] = field(default_factory=dict)
    samples: dict[int, list[Any]] = field(default_factory=dict)
    largest: dict[int, Any] = field(default_factory=dict)


def _part(model: bytes, images: NDArray[np.uint8], share: range, wanted: Wanted) -> _Part:
    made = interpreter(model)
    entry = made.get_input_details()[0]
    found = _Part()
    for place in share:
        made.set_tensor(entry["index"], images[place][None].astype(entry["dtype"]))
        made.invoke()
        _note(made, wanted, found)
    return found


def _note(made: Any, wanted: Wanted, found: _Part) -> None:
    """Add one image. Views of LiteRT's memory must be gone before the next invoke, so none is kept."""
    import numpy as np

    for one in wanted.ranged:
        span = float(made.tensor(one)().min()), float(made.tensor(one)().max())
        found.spans.setdefault(one, []).append(span)
    for one in wanted.averaged:
        found.sums[one] = found.sums.get(one, 0) + made.tensor(one)()[0].astype(np.float32)
    for one in wanted.sampled:
        step = max(1, made.tensor(one)().size // SAMPLES)
        found.samples.setdefault(one, []).append(made.tensor(one)().reshape(-1)[::step].copy())
    for one in wanted.spread:
        last = made.tensor(one)().shape[-1]
        largest = np.abs(made.tensor(one)().reshape(-1, last)).max(0)
        found.largest[one] = np.maximum(found.largest.get(one, 0), largest)


def interpreter(model: bytes) -> Any:
    """LiteRT with one thread of builtin kernels, all computed tensors kept."""
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
