"""The rules for 8-bit ranges, against worked examples and a slow search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tledge.quantization import range_rules
from tledge.quantization.range_rules import fake_quantize, least_error, percentile


def test_levels_of_a_worked_example() -> None:
    """-1 to 1.55 in steps of .01: zero is kept, ends are clipped."""
    values = np.array([-2, -1, -0.004, 0, 0.004, 0.006, 1.55, 9], np.float32)
    wanted = np.array([-1, -1, 0, 0, 0, 0.01, 1.55, 1.55])
    assert np.allclose(fake_quantize(values, (-1, 1.55)), wanted, atol=1e-6)


@given(st.floats(-1e3, 1e3), st.floats(0.01, 1e3))
def test_zero_stays_zero(low: float, width: float) -> None:
    assert fake_quantize(np.zeros(1, np.float32), (low, low + width))[0] == 0


@given(st.integers(0, 50))
def test_error_is_half_a_step(seed: int) -> None:
    values = np.random.default_rng(seed).normal(1, 3, 500).astype(np.float32)
    span = float(values.min()), float(values.max())
    step = (max(span[1], 0) - min(span[0], 0)) / range_rules.STEPS
    assert abs(fake_quantize(values, span) - values).max() <= step * 0.51 + 1e-6


def test_percentile_leaves_outliers_out() -> None:
    values = np.append(np.linspace(0, 1, 40_000), [500.0]).astype(np.float32)
    low, high = percentile(values, (0.0, 500.0))
    assert low == 0 and high == pytest.approx(1, abs=0.01)


def test_percentile_holds_zero_and_what_was_seen() -> None:
    values = np.linspace(3, 4, 1000).astype(np.float32)
    assert percentile(values, (3.0, 3.9)) == (0.0, 3.9)


def test_least_error_beats_the_whole_range() -> None:
    values = np.append(np.random.default_rng(0).normal(0, 1, 20_000), [60.0]).astype(np.float32)
    seen = float(values.min()), float(values.max())
    found = least_error(values, seen)
    errors = [float(np.square(fake_quantize(values, one) - values).mean()) for one in (seen, found)]
    assert errors[1] < errors[0] and found[1] < 60


def test_least_error_of_even_values_is_the_whole() -> None:
    values = np.linspace(-1, 1, 4001).astype(np.float32)
    assert least_error(values, (-1.0, 1.0)) == (-1.0, 1.0)


def test_tensors_without_samples_keep_what_was_seen() -> None:
    seen = {1: (0.0, 255.0), 2: (-1.0, 9.0)}
    found = range_rules.choose_ranges(percentile, {2: np.linspace(-1, 1, 50_000).astype(np.float32)}, seen)
    assert found[1] == seen[1] and found[2][1] < 1.01


def test_percentile_leaves_half_of_the_rest_out_at_either_end() -> None:
    values = np.linspace(-0.8, 0.8, 200_001, dtype=np.float32)
    assert percentile(values, (-0.8, 0.8)) == pytest.approx((-0.79992, 0.79992), abs=1e-6)


@pytest.mark.parametrize(("low", "high", "wanted"), [(3.0, 4.0, (0.0, 4.0)), (-4.0, -3.0, (-4.0, 0.0))])
def test_least_error_holds_zero(low: float, high: float, wanted: tuple[float, float]) -> None:
    assert least_error(np.linspace(low, high, 5001, dtype=np.float32), (low, high)) == wanted


@pytest.mark.parametrize("within", [(-0.2, 0.055), (0.1, 0.255), (-0.255, -0.1)])
def test_levels_fill_the_range_and_zero(within: tuple[float, float]) -> None:
    """Each of these ranges is .255 wide with zero, so a level is .001."""
    found = fake_quantize(np.linspace(*within, 1000, dtype=np.float32), within)
    assert np.allclose(np.diff(np.unique(found)), 0.001, atol=1e-6)
    assert (found[0], found[-1]) == pytest.approx(within, abs=5e-4)
