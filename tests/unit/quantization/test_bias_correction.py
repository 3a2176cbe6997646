"""Rounding, mean patches and shifts, each against a worked example or a slow twin."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.quantization.bias_correction import mean_patch, mean_shift, round_weights
from tledge.quantization.tflite_graph import Linear


def test_rounding_matches_worked_example() -> None:
    kernel = np.array([[1.27, 0.004], [-0.006, -2.54]], np.float32)
    wanted = np.array([[1.27, 0.0], [-0.01, -2.54]], np.float32)
    assert np.allclose(round_weights(kernel, 1), wanted, atol=1e-6)
    assert np.array_equal(round_weights(np.zeros((2, 2), np.float32), 0), np.zeros((2, 2)))


def convolution(kind: str, stride: int, dilation: int, same: bool) -> Linear:
    return Linear("one", kind, 0, 1, 2, 3, (stride, stride), (dilation, dilation), same)


def slow_patch(linear: Linear, taps: int, mean: NDArray[Any]) -> NDArray[Any]:
    """What each tap sees, position by position, on an image padded by hand."""
    (stride, _), (dilation, _), size = linear.strides, linear.dilations, mean.shape[0]
    span = (taps - 1) * dilation + 1
    count = -(-size // stride) if linear.same_padding else (size - span) // stride + 1
    pad = max(0, (count - 1) * stride + span - size) if linear.same_padding else 0
    padded = np.pad(mean, ((pad // 2, pad - pad // 2), (pad // 2, pad - pad // 2), (0, 0)))
    seen = np.zeros((taps, taps, mean.shape[2]))
    for row in range(count):
        for column in range(count):
            window = padded[row * stride :, column * stride :][:span:dilation, :span:dilation]
            seen += window / count**2
    return seen


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("size", "taps", "stride", "dilation"),
    [(7, 3, 1, 1), (8, 3, 2, 1), (9, 5, 2, 1), (9, 3, 1, 2), (6, 1, 2, 1)],
)
def test_mean_patch_of_every_geometry(size: int, taps: int, stride: int, dilation: int, same: bool) -> None:
    mean = np.random.default_rng(0).normal(3, 1, (size, size, 2)).astype(np.float32)
    linear = convolution("CONV_2D", stride, dilation, same)
    found = mean_patch(linear, (taps, taps), mean)
    assert np.allclose(found, slow_patch(linear, taps, mean))


def test_shift_of_grouped_and_depthwise_kernels() -> None:
    """A depthwise kernel is a grouped one; a group sees only its channels."""
    rng = np.random.default_rng(1)
    mean = rng.normal(2, 1, (5, 5, 4)).astype(np.float32)
    depthwise = rng.normal(size=(1, 3, 3, 4)).astype(np.float32)
    grouped = depthwise[0].transpose(2, 0, 1)[..., None]
    one = mean_shift(convolution("DEPTHWISE_CONV_2D", 1, 1, True), depthwise, mean)
    other = mean_shift(convolution("CONV_2D", 1, 1, True), grouped, mean)
    assert np.allclose(one, other, atol=1e-5) and np.ptp(one) > 0.1
