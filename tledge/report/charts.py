"""Where the lines, ticks and words of a chart stand; the templates draw them as SVG in the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tledge.statistics import Bin

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
    """Round numbers that cover `low` to `high`, at most about `most` steps."""
    width = (high - low) or 1.0
    unit = float(10 ** math.floor(math.log10(width / most)))
    step = next(unit * one for one in (1, 2, 5, 10) if width / (unit * one) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


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
    ends = [one for one in (low, high) if one is not None]
    marks = ticks(min([*known, *ends], default=0.0), max([*known, *ends], default=1.0))
    count = len(stages)

    def x(number: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / max(1, count), 2)

    def y(value: float) -> float:
        share = (value - marks[0]) / (marks[-1] - marks[0])
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 2)

    starts = [n for n in range(count) if n == 0 or stages[n] != stages[n - 1]]
    lines = []
    for title, kind, values in series:
        places = [None if value is None else (x(n), y(value)) for n, value in enumerate(values)]
        parts = [places[start:end] for start, end in zip(starts, [*starts[1:], count], strict=True)]
        strokes = tuple(" ".join(f"{px:g},{py:g}" for px, py in _there(part)) for part in parts)
        dots = tuple(_there(places)) if count <= DOTTED else ()
        lines.append(Line(title, kind, tuple(values), strokes, dots))
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    return Chart(
        name,
        _told(name, stages, lines),
        tuple(Tick(x(n - 1), f"{n:g}") for n in ticks(1, max(1, count)) if 1 <= n <= count and n == int(n)),
        tuple(Tick(y(value), f"{value:.{digits}f}") for value in marks),
        _placed([(x(start - 0.5), stages[start]) for start in starts]),
        tuple(lines),
    )


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


SIDE, EDGE, STRIP = 320, 44, 44
"""The square of a reliability diagram, the room left of it and below, the strip of shares below that."""

GAP = 26
"""Between the square, with the words of its axis, and the strip."""

RELIABILITY_HEIGHT = 10 + SIDE + GAP + STRIP + 6


def reliability(bins: Sequence[Bin], error: float) -> Reliability:
    """The reliability diagram of Keras' answers; `error` is their expected calibration error."""
    images = sum(one.images for one in bins)
    most = max(one.images for one in bins) / images

    def bar(one: Bin) -> Bar:
        return Bar(
            x=round(EDGE + SIDE * one.low + 1, 2),
            y=round(10 + SIDE * (1 - one.accuracy), 2),
            width=round(SIDE * (one.high - one.low) - 2, 2),
            height=round(SIDE * one.accuracy, 2),
            expected=round(10 + SIDE * (1 - one.confidence), 2),
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
    axis = tuple((EDGE + SIDE * one, 10 + SIDE * (1 - one), f"{one:.1f}") for one in fifths)
    return Reliability(alt, axis, tuple(bar(one) for one in bins))
