"""Choose the ranges of 8-bit activations: a percentile of the measured values, or the least rounding error.

A range (low, high) is divided into 255 steps and always holds 0, which LiteRT's zero point needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Range = tuple[float, float]
Rule = Callable[["NDArray[np.float32]", Range], Range]
"""Sampled values float32[N] and the measured range → the range to use."""

STEPS = 255
PERCENTILE_SHARE = 0.9999
"""Share of the values that a percentile range holds; half of the rest is clipped at either end."""

SEARCH_STEPS = 40
"""Number of ranges that the search for the least error tries, from a fifth of the measured one up."""

MAX_ERROR_VALUES = 1 << 14
"""Largest number of values that errors are averaged over, evenly spaced."""


def percentile(values: NDArray[np.float32], measured: Range) -> Range:
    """Return the range of `PERCENTILE_SHARE` of the values float32[N], never wider than the measured one."""
    import numpy as np

    rest = (1 - PERCENTILE_SHARE) / 2
    low, high = (float(end) for end in np.quantile(values, [rest, 1 - rest]))
    return min(0.0, max(measured[0], low)), max(0.0, min(measured[1], high))


def least_error(values: NDArray[np.float32], measured: Range) -> Range:
    """Return the part of the measured range that rounds the sampled values with the least squared error."""
    import numpy as np

    values = values[:: -(-len(values) // MAX_ERROR_VALUES)]
    low, high = min(measured[0], 0.0), max(measured[1], 0.0)
    ranges = [(low * part, high * part) for part in np.linspace(0.2, 1, SEARCH_STEPS)]
    errors = [float(np.square(fake_quantize(values, span) - values).mean()) for span in ranges]
    best_low, best_high = ranges[int(np.argmin(errors))]
    return float(best_low), float(best_high)


def fake_quantize(values: NDArray[np.float32], within: Range) -> NDArray[np.float32]:
    """Clip float32 values to a range, widened to hold 0, and round them to the nearest of 256 levels.

    scale = (high - low) / 255, zero point z = round(-low / scale): (clip(round(x / scale) + z, 0, 255) - z) *
    scale.
    """
    import numpy as np

    low, high = min(within[0], 0.0), max(within[1], 0.0)
    scale = max((high - low) / STEPS, 1e-30)
    zero_point = round(-low / scale)
    levels = np.clip(np.round(values / scale) + zero_point, 0, STEPS)
    return np.asarray((levels - zero_point) * scale, np.float32)


def choose_ranges(
    rule: Rule,
    samples: Mapping[int, NDArray[np.float32]],
    measured: Mapping[int, Range],
) -> dict[int, Range]:
    """Choose the range of every tensor by a rule; a tensor without samples keeps its measured range."""
    return {
        tensor: rule(samples[tensor], span) if tensor in samples else span
        for tensor, span in measured.items()
    }
