"""Analytic bias correction: what rounding the weights does to the mean of a layer, undone.

Rounding a kernel W to Wq shifts the mean output of channel c by
delta_c = E[layer(x; Wq)]_c - E[layer(x; W)]_c, a bias and not noise where the inputs have a large
mean (depthwise edge detectors, whose weights sum to about zero, suffer most). Taking delta off the
layer's bias, or adding it to the moving mean of the batch norm behind it, removes the shift. See
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2; here with measured instead of assumed input statistics.

The converter folds batch norm into the kernel, a factor per output channel; symmetric per-channel
rounding is blind to such a factor, so Wq can be computed before folding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = 127
"""Largest magnitude of a symmetric int8 weight (LiteRT 8-bit quantization specification)."""

BATCH = 16


@dataclass(frozen=True)
class Correction:
    """What was done to one layer: the largest shift found, in units of its outputs."""

    layer: str
    target: str
    largest: float


def round_weights(kernel: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    """The kernel as int8 stores it: symmetric, a scale per channel, `axes` being the others.

    scale = max|W| / 127 over `axes`; the result is scale * round(W / scale), float32.
    """
    import numpy as np

    largest = np.abs(kernel).max(axis=axes, keepdims=True)
    scale = np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float32)
    return (np.round(kernel / scale) * scale).astype(np.float32)


def _channel_axes(layer: Any, kernel: NDArray[np.float32]) -> tuple[int, ...]:
    """All axes that share a scale: every axis but the output channels'.

    A depthwise kernel [h, w, channels, multiplier] has its channels on two axes.
    """
    kept = 2 if "Depthwise" in type(layer).__name__ else 1
    return tuple(range(kernel.ndim - kept))


def correct_biases(model: Any, images: NDArray[np.uint8]) -> list[Correction]:
    """Correct `model` in place for 8-bit weights; gives one Correction per layer that was.

    `images` uint8[N, H, W, 3] are calibration images. Layers with neither a bias nor a batch
    norm directly behind them have nowhere to put the correction and are left alone.
    """
    plan = [(layer, target) for layer in model.layers if (target := _target(layer)) is not None]
    shifts = _mean_shifts(model, [layer for layer, _ in plan], images)
    made = []
    for (layer, target), shift in zip(plan, shifts, strict=True):
        _apply(layer, target, shift)
        made.append(Correction(layer.name, target.name, float(abs(shift).max())))
    return made


def _target(layer: Any) -> Any | None:
    """The layer that can take the correction: the one batch norm behind, or the layer itself."""
    kinds = ("Conv2D", "DepthwiseConv2D", "Dense")
    if type(layer).__name__ not in kinds:
        return None
    behind = [node.operation for node in layer._outbound_nodes]
    if len(behind) == 1 and type(behind[0]).__name__ == "BatchNormalization":
        return behind[0]
    return layer if layer.use_bias else None


def _apply(layer: Any, target: Any, shift: NDArray[np.float64]) -> None:
    if target is layer:
        layer.bias.assign(layer.bias.numpy() - shift)
    else:
        target.moving_mean.assign(target.moving_mean.numpy() + shift)


def _mean_shifts(model: Any, layers: list[Any], images: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """delta_c of every layer, the mean over all images and positions."""
    import keras
    import numpy as np

    inputs = keras.Model(model.input, [layer.input for layer in layers])
    twins = [_error_twin(layer) for layer in layers]
    sums: list[Any] = [0.0] * len(layers)
    for batch in _batches(images):
        found = inputs(batch, training=False)
        for number, (twin, values) in enumerate(zip(twins, _listed(found), strict=True)):
            shift = keras.ops.convert_to_numpy(twin(values)).astype(np.float64)
            sums[number] = sums[number] + shift.mean(axis=tuple(range(1, shift.ndim - 1))).sum(0)
    return [total / len(images) for total in sums]


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    import numpy as np

    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH].astype(np.float32)


def _error_twin(layer: Any) -> Any:
    """The same linear layer with the kernel Wq - W, no bias and no activation."""
    config = layer.get_config()
    name = f"{layer.name}_error"
    twin = type(layer).from_config({**config, "use_bias": False, "activation": "linear", "name": name})
    twin.build(layer.input.shape)
    kernel = layer.kernel.numpy()
    twin.set_weights([round_weights(kernel, _channel_axes(layer, kernel)) - kernel])
    return twin
