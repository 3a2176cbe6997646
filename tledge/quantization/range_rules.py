"""Ranges that 8-bit activations get: all of what was seen, nearly all of it, or what loses least.

A range (low, high) is cut into 255 steps and always holds 0, which LiteRT's zero point needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Range = tuple[float, float]
Rule = Callable[["NDArray[np.float32]", Range], Range]
"""Sampled values and the range that was seen → the range to use."""

STEPS = 255
SHARE = 0.9999
"""Share of the values that a percentile range holds, half of the rest being cut at either end."""

CUTS = 40
"""Ranges that the search for the least error tries, from the whole down to a fifth of it."""

ENOUGH = 1 << 14
"""Values that errors are averaged over, evenly taken of all."""


def percentile(values: NDArray[np.float32], seen: Range) -> Range:
    """The range that holds `SHARE` of the sampled values, never wider than what was seen."""
    import numpy as np

    rest = (1 - SHARE) / 2
    low, high = (float(one) for one in np.quantile(values, [rest, 1 - rest]))
    return min(0.0, max(seen[0], low)), max(0.0, min(seen[1], high))


def least_error(values: NDArray[np.float32], seen: Range) -> Range:
    """The range, a part of what was seen, that rounds the sampled values with the least squared error."""
    import numpy as np

    values = values[:: -(-len(values) // ENOUGH)]
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)
    tried = [(low * part, high * part) for part in np.linspace(0.2, 1, CUTS)]
    errors = [float(np.square(fake_quantize(values, one) - values).mean()) for one in tried]
    best_low, best_high = tried[int(np.argmin(errors))]
    return float(best_low), float(best_high)


def fake_quantize(values: NDArray[np.float32], within: Range) -> NDArray[np.float32]:
    """What 8 bits over a range keep of values: clipped, and rounded to the nearest of 256 levels."""
    import numpy as np

    low, high = min(within[0], 0.0), max(within[1], 0.0)
    scale = max((high - low) / STEPS, 1e-30)
    zero_point = round(-low / scale)
    levels = np.clip(np.round(values / scale) + zero_point, 0, STEPS)
    return np.asarray((levels - zero_point) * scale, np.float32)


def chosen(
    rule: Rule,
    samples: Mapping[int, NDArray[np.float32]],
    seen: Mapping[int, Range],
) -> dict[int, Range]:
    """The range of every tensor by a rule; a tensor without samples keeps all that was seen."""
    return {one: rule(samples[one], span) if one in samples else span for one, span in seen.items()}
