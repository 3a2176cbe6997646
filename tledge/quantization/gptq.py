"""Rounding weights with regard to one another, so that their errors cancel where inputs go together.

Rounding each weight to the nearest level ignores that inputs are correlated. Here weights are
rounded one after the other, and what one loses is made up for by those still to come, weighed by
the covariance of the inputs: Frantar et al. 2022, "GPTQ", after the Optimal Brain Surgeon. Means
are left to bias correction, hence covariance and not the second moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tledge.quantization.activation_statistics import interpreter
from tledge.quantization.bias_correction import LEVELS, paddings
from tledge.quantization.tflite_graph import FloatGraph, Linear

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = 1024
"""Inputs of an output channel up to which the covariance is kept; its inverse costs their cube."""

DAMPING = 0.01
"""Share of the mean variance added to each, as GPTQ has it; the covariance of few images is singular."""


def covariances(
    model: bytes, images: NDArray[np.uint8], linears: Sequence[Linear], kernels: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float64]]:
    """Covariance of what every layer's kernel sees: [K, K], of a depthwise layer [channels, K, K].

    `kernels` gives the shape of each layer's weights; layers with more than `LARGEST` inputs, or
    with grouped kernels, are left out.
    """
    import numpy as np

    made = interpreter(model)
    entry = made.get_input_details()[0]
    sums: dict[str, list[NDArray[np.float64]]] = {}
    for image in images:
        made.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
        made.invoke()
        for one in linears:
            seen = _patches(one, kernels[one.name], made.get_tensor(one.input)[0])
            if seen is not None:
                _add(sums.setdefault(one.name, [np.zeros(()), np.zeros(()), np.zeros(())]), seen)
    return {name: _covariance(*parts) for name, parts in sums.items()}


def _patches(
    linear: Linear, kernel: tuple[int, ...], values: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """What the kernel sees at every position: [groups, positions, K]; None where it is too much."""
    import numpy as np

    if linear.kind == "FULLY_CONNECTED":
        return values.reshape(1, 1, -1) if values.size <= LARGEST else None
    depthwise = linear.kind == "DEPTHWISE_CONV_2D"
    size = kernel[1] * kernel[2] * (1 if depthwise else kernel[3])
    if size > LARGEST or (values.shape[2] != kernel[3]):
        return None
    sides = [paddings(linear, axis, values.shape[axis], kernel[1 + axis]) for axis in (0, 1)]
    padded = np.pad(values, [*sides, (0, 0)])
    spans = tuple((kernel[1 + axis] - 1) * linear.dilations[axis] + 1 for axis in (0, 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(0, 1))
    down, right = linear.strides
    windows = windows[::down, ::right, :, :: linear.dilations[0], :: linear.dilations[1]]
    if depthwise:
        return windows.transpose(2, 0, 1, 3, 4).reshape(values.shape[2], -1, size)
    return windows.transpose(0, 1, 3, 4, 2).reshape(1, -1, size)


def _add(sums: list[NDArray[np.float64]], seen: NDArray[np.float32]) -> None:
    """Count, sum and sum of products, group by group."""
    import numpy as np

    sums[0] = sums[0] + seen.shape[1]
    sums[1] = sums[1] + seen.sum(1, dtype=np.float64)
    sums[2] = sums[2] + np.matmul(seen.transpose(0, 2, 1), seen)


def _covariance(
    count: NDArray[np.float64], total: NDArray[np.float64], products: NDArray[np.float64]
) -> NDArray[np.float64]:
    mean = total / count
    return products / count - mean[:, :, None] * mean[:, None, :]


def round_together(graph: FloatGraph, covariance: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Put the weights of `graph` on their int8 levels in place; gives the names of the layers done."""
    import numpy as np

    done = []
    for one in graph.linears:
        if one.name not in covariance:
            continue
        kernel = graph.values(one.weights)
        rows = np.moveaxis(kernel, one.channel_axis, 0)
        flat = rows.reshape(len(rows), -1)
        rounded = rounded_rows(flat, covariance[one.name])
        graph.set_values(one.weights, np.moveaxis(rounded.reshape(rows.shape), 0, one.channel_axis))
        done.append(one.name)
    return done


def rounded_rows(weights: NDArray[np.float32], covariance: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows float32[channels, K] on int8 levels, scale = max|row| / 127 as the quantizer takes it.

    `covariance` is [1, K, K] for all rows, or [channels, K, K]. The largest weight of a row keeps
    its level, so that rounding once more finds the same scale.
    """
    import numpy as np

    largest = np.abs(weights).max(1, keepdims=True)
    scale = np.where(largest > 0, largest / LEVELS, 1.0)
    fixed = np.abs(weights) == largest
    left = (weights / scale).astype(np.float64)
    levels = np.round(left)
    factors = np.linalg.cholesky(np.linalg.inv(_damped(covariance))).transpose(0, 2, 1)
    for place in range(weights.shape[1]):
        level = np.clip(np.round(left[:, place]), -LEVELS, LEVELS)
        level = np.where(fixed[:, place], levels[:, place], level)
        lost = (left[:, place] - level) / factors[:, place, place]
        left[:, place:] -= lost[:, None] * factors[:, place, place:]
        levels[:, place] = level
    return np.asarray(levels * scale, np.float32)


def _damped(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    size = covariance.shape[-1]
    spread = np.trace(covariance, axis1=1, axis2=2) / size
    return np.asarray(covariance + (DAMPING * spread + 1e-12)[:, None, None] * np.eye(size))
