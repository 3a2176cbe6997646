"""Round weights jointly, so that their errors cancel where inputs are correlated (GPTQ).

Rounding each weight to the nearest level ignores that inputs are correlated. Here weights are
rounded one after the other, and the error of each is compensated by those that follow, weighted by
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

MAX_INPUTS = 1024
"""Largest number of inputs of an output channel; inverting the covariance costs its cube."""

DAMPING = 0.01
"""Share of the mean variance that is added to each, as in GPTQ; the covariance of few images is singular."""

MORE_DAMPING = (DAMPING, 0.1, 1.0, 10.0)
"""What is tried in turn: inputs that hardly vary leave a covariance of rounding errors, some negative."""


def covariances(
    model: bytes, images: NDArray[np.uint8], linears: Sequence[Linear], kernels: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float64]]:
    """Compute the covariance of the inputs of every layer's kernel over images uint8[N, H, W, 3].

    `kernels` gives the shape of each layer's weights. Returns, by name of the layer, float64[1, K, K] for K
    inputs of an output channel, of a depthwise layer [channels, K, K]. Layers with more than `MAX_INPUTS`
    inputs, or with grouped kernels, are left out.
    """
    import numpy as np

    runtime = interpreter(model)
    entry = runtime.get_input_details()[0]
    sums: dict[str, list[NDArray[np.float64]]] = {}
    for image in images:
        runtime.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
        runtime.invoke()
        for layer in linears:
            patches = _patches(layer, kernels[layer.name], runtime.get_tensor(layer.input)[0])
            if patches is not None:
                _add(sums.setdefault(layer.name, [np.zeros(()), np.zeros(()), np.zeros(())]), patches)
    return {name: _covariance(*moments) for name, moments in sums.items()}


def _patches(
    linear: Linear, kernel: tuple[int, ...], values: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Cut out the inputs of the kernel at every position: [groups, positions, K]; None for too large K."""
    import numpy as np

    if linear.kind == "FULLY_CONNECTED":
        return values.reshape(1, 1, -1) if values.size <= MAX_INPUTS else None
    depthwise = linear.kind == "DEPTHWISE_CONV_2D"
    size = kernel[1] * kernel[2] * (1 if depthwise else kernel[3])
    if size > MAX_INPUTS or (values.shape[2] != kernel[3]):
        return None
    borders = [paddings(linear, axis, values.shape[axis], kernel[1 + axis]) for axis in (0, 1)]
    padded = np.pad(values, [*borders, (0, 0)])
    spans = tuple((kernel[1 + axis] - 1) * linear.dilations[axis] + 1 for axis in (0, 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(0, 1))
    vertical, horizontal = linear.strides
    windows = windows[::vertical, ::horizontal, :, :: linear.dilations[0], :: linear.dilations[1]]
    if depthwise:
        return windows.transpose(2, 0, 1, 3, 4).reshape(values.shape[2], -1, size)
    return windows.transpose(0, 1, 3, 4, 2).reshape(1, -1, size)


def _add(sums: list[NDArray[np.float64]], patches: NDArray[np.float32]) -> None:
    """Add patches to count, sum and sum of products, group by group."""
    import numpy as np

    sums[0] = sums[0] + patches.shape[1]
    sums[1] = sums[1] + patches.sum(1, dtype=np.float64)
    sums[2] = sums[2] + np.matmul(patches.transpose(0, 2, 1), patches)


def _covariance(
    count: NDArray[np.float64], total: NDArray[np.float64], products: NDArray[np.float64]
) -> NDArray[np.float64]:
    mean = total / count
    return products / count - mean[:, :, None] * mean[:, None, :]


def round_together(graph: FloatGraph, covariance: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Round the weights of `graph` to int8 levels in place; returns the names of the rounded layers.

    `covariance` is that of `covariances`; layers that it lacks keep their weights.
    """
    import numpy as np

    done = []
    for layer in graph.linears:
        if layer.name not in covariance:
            continue
        kernel = graph.values(layer.weights)
        rows = np.moveaxis(kernel, layer.channel_axis, 0)
        rounded = rounded_rows(rows.reshape(len(rows), -1), covariance[layer.name])
        graph.set_values(layer.weights, np.moveaxis(rounded.reshape(rows.shape), 0, layer.channel_axis))
        done.append(layer.name)
    return done


def rounded_rows(weights: NDArray[np.float32], covariance: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round rows float32[channels, K] to int8 levels, with scale = max|row| / 127 as the quantizer takes it.

    `covariance` is float64[1, K, K] for all rows, or [channels, K, K]. Weights are rounded in their order;
    with the Cholesky factor U of the inverse covariance (Frantar et al. 2022, algorithm 1), the error e of
    weight i changes the later weights j by e * U[i, j] / U[i, i]. The largest weight of a row keeps its
    level, so that rounding once more finds the same scale.
    """
    import numpy as np

    largest = np.abs(weights).max(1, keepdims=True)
    scale = np.where(largest > 0, largest / LEVELS, 1.0)
    fixed = np.abs(weights) == largest
    compensated = (weights / scale).astype(np.float64)
    levels = np.round(compensated)
    factors = np.stack([_factor(group) for group in covariance])
    for column in range(weights.shape[1]):
        level = np.clip(np.round(compensated[:, column]), -LEVELS, LEVELS)
        level = np.where(fixed[:, column], levels[:, column], level)
        error = (compensated[:, column] - level) / factors[:, column, column]
        compensated[:, column:] -= error[:, None] * factors[:, column, column:]
        levels[:, column] = level
    return np.asarray(levels * scale, np.float32)


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Cholesky factor U of the inverse of the damped covariance float64[K, K].

    Where no damping makes it positive definite this is the identity: every weight is rounded by itself.
    """
    import numpy as np

    size = len(covariance)
    for damping in MORE_DAMPING:
        added = damping * np.trace(covariance) / size + 1e-12
        try:
            return np.asarray(np.linalg.cholesky(np.linalg.inv(covariance + added * np.eye(size))).T)
        except np.linalg.LinAlgError:
            continue
    return np.eye(size)
