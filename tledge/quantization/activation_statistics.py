"""Measure a model's tensors on the calibration set: ranges, means, samples, channel magnitudes.

The converter's own calibrator measures ranges in one thread of slow kernels; here LiteRT runs the
images in several interpreters, and measures all that quantization repair needs in the same run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tledge._process import processors
from tledge._process.native_output import native_stderr_closed
from tledge.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS = 4
"""Parts that the images are split into: fixed, so that sums do not depend on the number of processors."""

SAMPLES = 1024
"""Values that are sampled of a tensor for each image, evenly spaced."""


@dataclass(frozen=True)
class TensorSelection:
    """Numbers of the tensors to measure.

    `ranged` for their ranges, `averaged` for their means, `sampled` for samples of their values, `spread`
    for the largest magnitude of every channel.
    """

    ranged: Sequence[int] = ()
    averaged: Sequence[int] = ()
    sampled: Sequence[int] = ()
    spread: Sequence[int] = ()


@dataclass(frozen=True)
class TensorStatistics:
    """What was measured, by number of the tensor.

    Attributes:
        images: How many images were measured.
        ranges: The (least, largest) value over all images.
        means: The mean over the images, float32 in the shape of the tensor for one image.
        samples: Sampled values, float32.
        largest: Largest magnitude of every channel, float32[channels].
        extremes: Positions of the images that hold the least or largest value of some tensor.
        spans: The least and largest value in every image, float32[images, 2].
    """

    images: int
    ranges: Mapping[int, tuple[float, float]]
    means: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    samples: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    largest: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    extremes: tuple[int, ...] = ()
    spans: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)


def measure(model: bytes, images: NDArray[np.uint8], wanted: TensorSelection) -> TensorStatistics:
    """Run a model on images uint8[N, H, W, 3] and measure its tensors.

    A float input takes the bytes as numbers 0..255. Raises ConversionError where a tensor holds
    NaN or infinity.
    """
    import numpy as np

    shares = [range(first, len(images), PARTS) for first in range(min(PARTS, len(images)))]
    with ThreadPoolExecutor(processors.usable()) as pool:
        parts = list(pool.map(lambda share: _part(model, images, share, wanted), shares))
    spans = {tensor: _in_order([part.spans[tensor] for part in parts], shares) for tensor in wanted.ranged}
    ranges = {tensor: (float(span[:, 0].min()), float(span[:, 1].max())) for tensor, span in spans.items()}
    if broken := [tensor for tensor, (low, high) in ranges.items() if not math.isfinite(high - low)]:
        raise ConversionError(f"{len(broken)} tensors of the float model hold NaN or infinity: train again.")
    return TensorStatistics(
        images=len(images),
        ranges=ranges,
        means={tensor: sum(part.sums[tensor] for part in parts) / len(images) for tensor in wanted.averaged},
        samples={
            tensor: np.concatenate([values for part in parts for values in part.samples[tensor]])
            for tensor in wanted.sampled
        },
        largest={
            tensor: np.max([part.largest[tensor] for part in parts], axis=0) for tensor in wanted.spread
        },
        extremes=_extremes(spans),
        spans=spans,
    )


def _extremes(spans: Mapping[int, NDArray[np.float32]]) -> tuple[int, ...]:
    """Find the positions of the images that hold the least or largest value of some tensor."""
    positions = {int(end) for span in spans.values() for end in (span[:, 0].argmin(), span[:, 1].argmax())}
    return tuple(sorted(positions))


def _in_order(parts: Sequence[Sequence[tuple[float, float]]], shares: Sequence[range]) -> NDArray[np.float32]:
    """Merge the spans that were measured in every share, in the order of the images."""
    import numpy as np

    merged = np.empty((sum(map(len, shares)), 2), np.float32)
    for part, share in zip(parts, shares, strict=True):
        merged[share] = part
    return merged


def mean_outputs(
    model: bytes, images: NDArray[np.uint8], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Measure the mean float32[channels] of named tensors over images uint8[N, H, W, 3] and positions.

    Integers count as the real values that they stand for. Names that the model lacks are left out.
    """
    all_details = {detail["name"]: detail for detail in interpreter(model).get_tensor_details()}
    details = [all_details[name] for name in names if name in all_details]
    means = measure(
        model, images, TensorSelection(averaged=[int(detail["index"]) for detail in details])
    ).means
    return {detail["name"]: _real_mean(detail, means[int(detail["index"])]) for detail in details}


def _real_mean(detail: dict[str, Any], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    scale, zero_point = detail["quantization"]
    channels = mean.reshape(-1, mean.shape[-1]).mean(0)
    return np.asarray((channels - zero_point) * scale if scale else channels, np.float32)


@dataclass(frozen=True)
class _Part:
    """What was measured in one share of the images."""

    spans: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    sums: dict[int, Any] = field(default_factory=dict)
    samples: dict[int, list[Any]] = field(default_factory=dict)
    largest: dict[int, Any] = field(default_factory=dict)


def _part(model: bytes, images: NDArray[np.uint8], share: range, wanted: TensorSelection) -> _Part:
    runtime = interpreter(model)
    entry = runtime.get_input_details()[0]
    part = _Part()
    for position in share:
        runtime.set_tensor(entry["index"], images[position][None].astype(entry["dtype"]))
        runtime.invoke()
        _add_image(runtime, wanted, part)
    return part


def _add_image(runtime: Any, wanted: TensorSelection, part: _Part) -> None:
    """Add the image that ran last. No view of LiteRT's memory may be kept until the next invoke."""
    import numpy as np

    for tensor in wanted.ranged:
        span = float(runtime.tensor(tensor)().min()), float(runtime.tensor(tensor)().max())
        part.spans.setdefault(tensor, []).append(span)
    for tensor in wanted.averaged:
        values = runtime.tensor(tensor)()[0].astype(np.float32)
        part.sums[tensor] = part.sums.get(tensor, 0) + values
    for tensor in wanted.sampled:
        step = max(1, runtime.tensor(tensor)().size // SAMPLES)
        part.samples.setdefault(tensor, []).append(runtime.tensor(tensor)().reshape(-1)[::step].copy())
    for tensor in wanted.spread:
        channels = runtime.tensor(tensor)().shape[-1]
        largest = np.abs(runtime.tensor(tensor)().reshape(-1, channels)).max(0)
        part.largest[tensor] = np.maximum(part.largest.get(tensor, 0), largest)


def interpreter(model: bytes) -> Any:
    """Open a model in LiteRT with one thread of builtin kernels, keeping all computed tensors."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with native_stderr_closed():
        runtime = Interpreter(
            model_content=model,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
        runtime.allocate_tensors()
    return runtime
