"""Where the lines, ticks and words of a chart stand; the templates draw them as SVG in the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tledge.metrics.statistics import Bin

WIDTH, HEIGHT = 480, 280
"""Size of a chart in its own pixels; a page scales it."""

LEFT, RIGHT, TOP, BOTTOM = 44, 12, 40, 38
"""Room around the plot, above it for two rows of stage names."""

LETTER = 8.0
"""Pixels that a letter of a name takes at most, on average, on a narrow screen."""

LONGEST = 22
"""Letters of a stage's name that are shown."""

DOTTED = 40
"""Epochs up to which each has a dot."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what stands there."""

    place: float
    text: str


@dataclass(frozen=True)
class Mark:
    """Where a stage begins, and its name, in one of two rows so that names do not meet."""

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
    """Lines over epochs; `alt` says in words what they show."""

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
    """Round numbers, two or more, that cover `low` to `high` in about `most` steps at most."""
    width = (high - low) or 1.0
    unit = float(10 ** math.floor(math.log10(width / most)))
    step = next(unit * one for one in (1, 2, 5, 10) if width / (unit * one) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = (first - 1, last) if first > 0 else (first, last + 1)
    return [round(number * step, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class _Scale:
    """Where an epoch and a value lie on a chart of so many epochs, between the first and last tick."""

    epochs: int
    ticks: Sequence[float]

    def x(self, number: float) -> float:
        """Of an epoch, counted from 0; half of one less is where it begins."""
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
) -> Chart:
    """Series (name, kind, a value for each epoch) over epochs whose stages are named.

    The axis covers the values, and `low` and `high` where given. Strokes end with a stage: the next
    may count its loss otherwise.
    """
    known = [value for _name, _kind, values in series for value in values if value is not None]
    ends = [*known, *(one for one in (low, high) if one is not None)] or [0.0, 1.0]
    marks = ticks(min(ends), max(ends))
    scale = _Scale(len(stages), marks)
    starts = [n for n in range(len(stages)) if n == 0 or stages[n] != stages[n - 1]]
    lines = tuple(_line(title, kind, values, starts, scale) for title, kind, values in series)
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    whole = (one for one in ticks(1, len(stages)) if 1 <= one <= len(stages) and one == int(one))
    return Chart(
        name,
        _told(name, stages, lines),
        tuple(Tick(scale.x(one - 1), f"{one:g}") for one in whole),
        tuple(Tick(scale.y(value), f"{value:.{digits}f}") for value in marks),
        _placed([(scale.x(start - 0.5), stages[start]) for start in starts]),
        lines,
    )


def _line(name: str, kind: str, values: Sequence[float | None], starts: Sequence[int], scale: _Scale) -> Line:
    """A series with a stroke for each stage; stages begin at `starts`."""
    places = [None if value is None else (scale.x(n), scale.y(value)) for n, value in enumerate(values)]
    parts = [places[start:end] for start, end in zip(starts, [*starts[1:], len(values)], strict=True)]
    strokes = tuple(" ".join(f"{x:g},{y:g}" for x, y in _there(part)) for part in parts)
    return Line(name, kind, tuple(values), strokes, tuple(_there(places)) if len(values) <= DOTTED else ())


def _there(places: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    return [one for one in places if one is not None]


def _placed(names: Sequence[tuple[float, str]]) -> tuple[Mark, ...]:
    """Names in two rows: a name that would meet the one before it goes to the other row."""
    made: list[Mark] = []
    ends = [0.0, 0.0]
    for place, name in names:
        text = name if len(name) <= LONGEST else name[: LONGEST - 1].rstrip() + "…"
        row = 0 if ends[0] <= place else 1
        ends[row] = place + LETTER * (len(text) + 1)
        made.append(Mark(place, text, row))
    return tuple(made)


def _told(name: str, stages: Sequence[str], lines: Sequence[Line]) -> str:
    """What a chart shows, for who does not see it."""
    parts = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        if known:
            parts.append(f"{line.name} from {known[0]:.4f} to {known[-1]:.4f}")
    names = ", ".join(dict.fromkeys(stages))
    return f"{name} over {len(stages)} epochs: {'; '.join(parts)}. Stages: {names}."


SIDE, EDGE, ABOVE = 320, 44, 10
"""The square of a reliability diagram, the room left of it, the room above it."""

GAP, STRIP = 26, 44
"""Between the square, with the figures of its axis, and the strip of shares below it; the strip's height."""


def reliability(bins: Sequence[Bin], error: float) -> Reliability:
    """The reliability diagram of Keras' answers; `error` is their expected calibration error."""
    images = sum(one.images for one in bins)
    most = max(one.images for one in bins) / images

    def bar(one: Bin) -> Bar:
        return Bar(
            x=round(EDGE + SIDE * one.low + 1, 2),
            y=round(ABOVE + SIDE * (1 - one.accuracy), 2),
            width=round(SIDE * (one.high - one.low) - 2, 2),
            height=round(SIDE * one.accuracy, 2),
            expected=round(ABOVE + SIDE * (1 - one.confidence), 2),
            share_height=round(STRIP * one.images / images / most, 2),
            bin=one,
        )

    top = bins[-1]
    alt = (
        f"Accuracy by confidence of {images} answers; on the diagonal both are the same. "
        f"{top.images} answers have a confidence above {top.low:.2f}: {top.accuracy:.4f} of these are right, "
        f"their mean confidence is {top.confidence:.4f}. Expected calibration error {error:.4f}."
    )
    fifths = [number / 5 for number in range(6)]
    axis = tuple((EDGE + SIDE * one, round(ABOVE + SIDE * (1 - one), 2), f"{one:.1f}") for one in fifths)
    return Reliability(alt, axis, tuple(bar(one) for one in bins))
