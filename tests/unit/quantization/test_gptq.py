"""Rounding weights together: on their levels, the same scale, and less error where inputs go together."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.quantization.bias_correction import round_weights
from tledge.quantization.gptq import _patches, rounded_rows
from tledge.quantization.tflite_graph import Linear


def correlated(size: int, count: int, seed: int = 0) -> NDArray[np.float64]:
    """Inputs [count, size] that largely go together."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)) @ rng.normal(size=(3, size)) + 0.1 * rng.normal(size=(count, size))


@pytest.mark.parametrize("size", [9, 40])
def test_outputs_err_less(size: int) -> None:
    inputs = correlated(size, 4000)
    weights = np.random.default_rng(1).normal(size=(6, size)).astype(np.float32)
    covariance = np.cov(inputs.T, bias=True)[None]
    plain, together = round_weights(weights, 0), rounded_rows(weights, covariance)
    errors = [np.square(inputs @ (one - weights).T).mean() for one in (plain, together)]
    assert errors[1] < 0.5 * errors[0]


def test_levels_and_scale_are_kept() -> None:
    """What the quantizer makes of the rounded weights is the rounded weights."""
    weights = np.random.default_rng(2).normal(size=(5, 20)).astype(np.float32)
    made = rounded_rows(weights, np.cov(correlated(20, 500).T, bias=True)[None])
    assert np.allclose(round_weights(made, 0), made, atol=1e-6)
    assert np.allclose(abs(made).max(1), abs(weights).max(1), rtol=1e-6)


def test_each_channel_has_its_own_covariance() -> None:
    """As of a depthwise layer: the same as one channel alone."""
    weights = np.random.default_rng(3).normal(size=(2, 9)).astype(np.float32)
    covariances = np.stack([np.cov(correlated(9, 300, seed).T, bias=True) for seed in (1, 2)])
    made = rounded_rows(weights, covariances)
    for channel in range(2):
        alone = rounded_rows(weights[channel : channel + 1], covariances[channel : channel + 1])
        assert np.array_equal(made[channel], alone[0])


def test_no_covariance_is_plain_rounding() -> None:
    weights = np.random.default_rng(4).normal(size=(3, 12)).astype(np.float32)
    assert np.allclose(rounded_rows(weights, np.eye(12)[None]), round_weights(weights, 0), atol=1e-6)


@pytest.mark.parametrize("largest", [1e-9, -1e-3])
def test_covariance_of_rounding_errors(largest: float) -> None:
    """Inputs that hardly vary, as of a model at chance: eigenvalues are rounding errors, some negative."""
    weights = np.random.default_rng(5).normal(size=(4, 9)).astype(np.float32)
    noisy = np.diag(np.linspace(-1e-3, largest, 9))[None]
    assert np.allclose(rounded_rows(weights, noisy), round_weights(weights, 0), atol=1e-6)


def test_one_channel_of_rounding_errors_leaves_the_others() -> None:
    weights = np.random.default_rng(6).normal(size=(2, 9)).astype(np.float32)
    sound = np.cov(correlated(9, 300).T, bias=True)
    rounded = rounded_rows(weights, np.stack([sound, np.diag(np.linspace(-1e-3, 1e-9, 9))]))
    assert np.array_equal(rounded[:1], rounded_rows(weights[:1], sound[None]))


def test_zero_weights_stay() -> None:
    assert not rounded_rows(np.zeros((2, 4), np.float32), np.eye(4)[None]).any()


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_patches_times_kernel_is_the_convolution(stride: int, dilation: int, same: bool) -> None:
    """Against scipy's correlation, one channel after the other."""
    from scipy.signal import correlate

    rng = np.random.default_rng(5)
    values, kernel = rng.normal(size=(9, 9, 3)).astype(np.float32), rng.normal(size=(1, 3, 3, 3))
    linear = Linear("one", "CONV_2D", 0, 1, 2, 3, (stride, stride), (dilation, dilation), same)
    seen = _patches(linear, kernel.shape, values)
    assert seen is not None
    found = seen[0] @ kernel[0].reshape(-1)
    wide = np.zeros((1 + 2 * dilation, 1 + 2 * dilation, 3))
    wide[::dilation, ::dilation] = kernel[0]
    pad = dilation if same and stride == 1 else 0
    if same and stride == 2:  # 9 places by 3 taps at 2: one zero at either side
        pad = 1
    padded = np.pad(values, ((pad, pad), (pad, pad), (0, 0)))
    wanted = sum(correlate(padded[..., c], wide[..., c], "valid") for c in range(3))[::stride, ::stride]
    assert np.allclose(found, wanted.reshape(-1), atol=1e-4)
