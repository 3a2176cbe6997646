"""Rounding, mean patches, shifts and what corrects them, each against a worked example or a slow twin."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.quantization.bias_correction import correct_biases, mean_patch, mean_shift, round_weights
from tledge.quantization.tflite_graph import Linear


def test_rounding_matches_worked_example() -> None:
    kernel = np.array([[1.27, 0.004], [-0.006, -2.54]], np.float32)
    wanted = np.array([[1.27, 0.0], [-0.01, -2.54]], np.float32)
    assert np.allclose(round_weights(kernel, 1), wanted, atol=1e-6)
    assert np.array_equal(round_weights(np.zeros((2, 2), np.float32), 0), np.zeros((2, 2)))
    small = np.array([[0.127, 0.0504]], np.float32)
    assert np.allclose(round_weights(small, 0), [[0.127, 0.050]], atol=1e-6)


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


def test_mean_patch_of_an_image_that_is_no_square() -> None:
    """Rows and columns have their own length, stride and padding."""
    mean = np.random.default_rng(0).normal(3, 1, (7, 4, 2)).astype(np.float32)
    linear = Linear("one", "CONV_2D", 0, 1, 2, 3, (2, 1), (1, 1), True)
    turned = Linear("one", "CONV_2D", 0, 1, 2, 3, (1, 2), (1, 1), True)
    found = mean_patch(linear, (3, 1), mean)
    assert np.allclose(found, mean_patch(turned, (1, 3), mean.swapaxes(0, 1)).swapaxes(0, 1))
    padded = np.pad(mean, ((1, 1), (0, 0), (0, 0)))
    assert np.allclose(found[:, 0], [padded[tap::2][:4].mean((0, 1)) for tap in range(3)])


def test_shift_of_grouped_and_depthwise_kernels() -> None:
    """A depthwise kernel is a grouped one; a group sees only its channels."""
    rng = np.random.default_rng(1)
    mean = rng.normal(2, 1, (5, 5, 4)).astype(np.float32)
    depthwise = rng.normal(size=(1, 3, 3, 4)).astype(np.float32)
    grouped = depthwise[0].transpose(2, 0, 1)[..., None]
    one = mean_shift(convolution("DEPTHWISE_CONV_2D", 1, 1, True), depthwise, mean)
    other = mean_shift(convolution("CONV_2D", 1, 1, True), grouped, mean)
    assert np.allclose(one, other, atol=1e-5) and np.ptp(one) > 0.1
    twice = np.repeat(depthwise, 2, axis=3)  # each channel goes into two
    both = mean_shift(convolution("DEPTHWISE_CONV_2D", 1, 1, True), twice, mean)
    assert np.allclose(both, np.repeat(one, 2), atol=1e-5)


class DenseGraph:
    """A graph of one dense layer, float32[out, in] and its bias, as far as a correction needs it."""

    def __init__(self, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.kernel, self.corrected = kernel, bias
        self.linears = (Linear("dense", "FULLY_CONNECTED", 0, 1, 2, 3),)

    def values(self, tensor: int) -> NDArray[np.float32]:
        assert tensor == 1, "the weights"
        return self.kernel

    def bias(self, linear: Linear) -> NDArray[np.float32]:
        return self.corrected

    def set_bias(self, linear: Linear, values: NDArray[np.float32]) -> None:
        self.corrected = values


def test_correction_takes_the_shift_off() -> None:
    """With the corrected bias, the rounded weights give the mean output of the float weights."""
    rng = np.random.default_rng(2)
    kernel, bias = rng.normal(size=(4, 30)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    images = rng.uniform(0, 6, (50, 30)).astype(np.float32)
    graph: Any = DenseGraph(kernel, bias)
    (correction,) = correct_biases(graph, {0: images.mean(0)})
    wanted = (images @ kernel.T + bias).mean(0)
    rounded = images @ round_weights(kernel, 0).T
    assert np.allclose((rounded + graph.corrected).mean(0), wanted, atol=1e-4)
    shift = np.abs((rounded + bias).mean(0) - wanted).max()
    assert correction.largest == pytest.approx(shift, rel=1e-3) and shift > 0.01
    assert correction.layer == "dense"


def test_layers_that_are_left_out_keep_their_bias() -> None:
    bias = np.ones(2, np.float32)
    graph: Any = DenseGraph(np.full((2, 3), 0.123, np.float32), bias)
    assert correct_biases(graph, {}, besides=["dense"]) == [] and graph.corrected is bias
