"""Lay out the lines, ticks and texts of a chart; the templates draw them as SVG in the page's colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tledge.metrics.statistics import Bin
from tledge.visualization.text_format import percent

WIDTH, HEIGHT = 480, 280
"""Size of a chart in its own pixels; a page scales it."""

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 40, 38
"""Margins of the plot; the top one has two rows of stage names."""

CHARACTER_WIDTH = 8.0
"""Largest average width of a character in pixels, on a narrow screen."""

MAX_NAME_LENGTH = 22
"""Characters of a stage's name that are displayed."""

MAX_DOTS = 40
"""Epochs up to which each has a dot."""


@dataclass(frozen=True)
class Tick:
    """A tick on an axis: its position and text."""

    place: float
    text: str


@dataclass(frozen=True)
class Mark:
    """The start of a stage, and its name in one of two rows so that names do not overlap."""

    place: float
    text: str
    row: int


@dataclass(frozen=True)
class Line:
    """One series: its name, its values (None: a gap), its strokes as SVG points, its dots."""

    name: str
    kind: str
    values: tuple[float | None, ...]
    strokes: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Lines over epochs; `alt` describes them in words."""

    name: str
    alt: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Bar:
    """A bin of confidence: the box of its accuracy, its mean confidence and its share of the images."""

    x: float
    y: float
    width: float
    height: float
    expected: float
    share_height: float
    bin: Bin


@dataclass(frozen=True)
class Reliability:
    """Bars of accuracy by confidence, 0..1 on both axes, over a strip with the share of the images."""

    alt: str
    ticks: tuple[tuple[float, float, str], ...]
    bars: tuple[Bar, ...]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return two or more round numbers that cover `low` to `high` in about `most` steps at most."""
    width = (high - low) or 1.0
    unit = float(10 ** math.floor(math.log10(width / most)))
    step = next(unit * factor for factor in (1, 2, 5, 10) if width / (unit * factor) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = (first - 1, last) if first > 0 else (first, last + 1)
    return [round(number * step, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class _Scale:
    """Positions of epochs and values on a chart of `epochs`, between the first and last tick."""

    epochs: int
    ticks: Sequence[float]

    def x(self, number: float) -> float:
        """Return the position of an epoch, counted from 0; it begins at `number - 0.5`."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / max(1, self.epochs), 2)

    def y(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 2)


def epochs_chart(
    name: str,
    stages: Sequence[str],
    series: Sequence[tuple[str, str, Sequence[float | None]]],
    *,
    low: float | None = None,
    high: float | None = None,
    in_percent: bool = False,
) -> Chart:
    """Lay out series (name, kind, a value for each epoch) over epochs with the names of their stages.

    `in_percent` shows shares in per cent. The axis covers the values, and `low` and `high` where given.
    Strokes end with a stage, because the next stage may have another loss.
    """
    values = [value for _name, _kind, line in series for value in line if value is not None]
    bounds = [*values, *(bound for bound in (low, high) if bound is not None)] or [0.0, 1.0]
    y_values = ticks(min(bounds), max(bounds))
    scale = _Scale(len(stages), y_values)
    starts = [n for n in range(len(stages)) if n == 0 or stages[n] != stages[n - 1]]
    lines = tuple(_line(title, kind, line, starts, scale) for title, kind, line in series)
    factor = 100 if in_percent else 1
    digits = max(0, -math.floor(math.log10(factor * (y_values[1] - y_values[0])) + 1e-9))
    epochs = (tick for tick in ticks(1, len(stages)) if 1 <= tick <= len(stages) and tick == int(tick))
    return Chart(
        name,
        _description(name, stages, lines, percent if in_percent else "{:.4f}".format),
        tuple(Tick(scale.x(epoch - 1), f"{epoch:g}") for epoch in epochs),
        tuple(Tick(scale.y(value), f"{factor * value:.{digits}f}{'%' * in_percent}") for value in y_values),
        _stage_marks([(scale.x(start - 0.5), stages[start]) for start in starts]),
        lines,
    )


def _line(name: str, kind: str, values: Sequence[float | None], starts: Sequence[int], scale: _Scale) -> Line:
    """Lay out a series with a stroke for each stage; stages begin at `starts`."""
    points = [None if value is None else (scale.x(n), scale.y(value)) for n, value in enumerate(values)]
    parts = [points[start:end] for start, end in zip(starts, [*starts[1:], len(values)], strict=True)]
    strokes = tuple(" ".join(f"{x:g},{y:g}" for x, y in _without_gaps(part)) for part in parts)
    return Line(
        name, kind, tuple(values), strokes, tuple(_without_gaps(points)) if len(values) <= MAX_DOTS else ()
    )


def _without_gaps(points: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    return [point for point in points if point is not None]


def _stage_marks(names: Sequence[tuple[float, str]]) -> tuple[Mark, ...]:
    """Lay out names in two rows: a name that would overlap the one before it goes to the other row."""
    marks: list[Mark] = []
    ends = [0.0, 0.0]
    for place, name in names:
        text = name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1].rstrip() + "…"
        row = 0 if ends[0] <= place else 1
        ends[row] = place + CHARACTER_WIDTH * (len(text) + 1)
        marks.append(Mark(place, text, row))
    return tuple(marks)


def _description(
    name: str, stages: Sequence[str], lines: Sequence[Line], text: Callable[[float], str]
) -> str:
    """Describe a chart in words, for screen readers."""
    parts = []
    for line in lines:
        values = [value for value in line.values if value is not None]
        if values:
            parts.append(f"{line.name} from {text(values[0])} to {text(values[-1])}")
    names = ", ".join(dict.fromkeys(stages))
    return f"{name} over {len(stages)} epochs: {'; '.join(parts)}. Stages: {names}."


SIDE, EDGE, ABOVE = 320, 62, 10
"""Side of a reliability diagram's square, its left margin, its top margin."""

GAP, STRIP = 48, 44
"""Gap between the square and the strip of shares below it; the strip's height."""


def reliability(bins: Sequence[Bin], error: float) -> Reliability:
    """Lay out the reliability diagram of Keras' predictions, whose calibration error is `error`."""
    images = sum(group.images for group in bins)
    largest_share = max(group.images for group in bins) / images

    def bar(group: Bin) -> Bar:
        return Bar(
            x=round(EDGE + SIDE * group.low + 1, 2),
            y=round(ABOVE + SIDE * (1 - group.accuracy), 2),
            width=round(SIDE * (group.high - group.low) - 2, 2),
            height=round(SIDE * group.accuracy, 2),
            expected=round(ABOVE + SIDE * (1 - group.confidence), 2),
            share_height=round(STRIP * group.images / images / largest_share, 2),
            bin=group,
        )

    top = bins[-1]
    alt = (
        f"Accuracy by raw probability of {images} predictions; on the diagonal both are equal. "
        f"{top.images} predictions have one above {percent(top.low)}: {percent(top.accuracy)} of these are "
        f"correct, their mean is {percent(top.confidence)}. Expected calibration error {error:.3f}."
    )
    shares = [number / 5 for number in range(6)]
    axis = tuple((EDGE + SIDE * x, round(ABOVE + SIDE * (1 - x), 2), f"{100 * x:.0f}%") for x in shares)
    return Reliability(alt, axis, tuple(map(bar, bins)))
