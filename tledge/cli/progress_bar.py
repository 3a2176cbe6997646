"""Draw one line of progress that fits the terminal: name, bar, steps, time left and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tledge._io.encoding import one_line
from tledge.cli.terminal import cells
from tledge.visualization.text_format import duration

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {"images_s": "img/s", "accuracy": "acc"}
"""How figures are called beside a bar."""

WIDEST, NARROWEST = 24, 8
"""Columns of a bar; where not even the fewest are left, there is none."""

PULSE = 6
"""Columns that move to and fro where the number of steps is not known."""


@dataclass(frozen=True)
class Line:
    """What one line of progress says; `total` and `left`, in seconds, are None where they are not known."""

    name: str
    done: int
    total: int | None
    elapsed: float
    left: float | None
    figures: Sequence[str] = ()

    @property
    def count(self) -> str:
        """The steps done, of how many, in a width that does not change."""
        if self.total is None:
            return f"{self.done:,}" if self.done else ""
        total = f"{self.total:,}"
        return f"{self.done:>{len(total)},}/{total}"

    @property
    def time(self) -> str:
        """The time left or, where that is not known, the time since the start."""
        if self.left is not None and self.total and self.done < self.total:
            return f"{duration(self.left)} left"
        return duration(self.elapsed) if self.elapsed >= 1 else ""


def figure_texts(figures: Mapping[str, object]) -> tuple[str, ...]:
    """Return figures as texts, each with its name."""
    return tuple(f"{NAMES.get(name, name)} {_number(value)}" for name, value in figures.items())


def _number(value: object) -> str:
    if not isinstance(value, float):
        return one_line(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def parts(line: Line, width: int) -> tuple[str, str, str, str]:
    """Return a line's name, the full and the empty part of its bar, and what follows, within `width` columns.

    Figures that do not fit are left out, the last ones first; then the bar gets shorter.
    """
    figures = list(line.figures)
    while True:
        tail = "  ".join(text for text in (line.count, line.time, *figures) if text)
        room = width - cells(line.name) - cells(tail) - 4
        if room >= NARROWEST or not figures:
            break
        figures.pop()
    if room < NARROWEST:
        return line.name, "", "", tail
    full, empty = _bar(line, min(WIDEST, room))
    return line.name, full, empty, tail


def _bar(line: Line, width: int) -> tuple[str, str]:
    """Return the full and the empty part of a bar; without a total, a part of it moves to and fro."""
    if line.total:
        full = min(width, round(width * line.done / line.total))
        return "━" * full, "─" * (width - full)
    span = width - PULSE
    place = int(line.elapsed * 8) % (2 * span)
    place = min(place, 2 * span - place)
    return "─" * place + "━" * PULSE, "─" * (span - place)


def column(console: Console) -> Any:
    """Return the one column of `rich.progress` that draws such lines."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class WholeLine(ProgressColumn):
        def render(self, task: Task) -> Text:
            total = None if task.total is None else int(task.total)
            left = task.time_remaining if task.speed else None
            line = Line(
                one_line(task.description), int(task.completed), total, task.elapsed or 0.0, left,
                task.fields.get("figures", ()),
            )  # fmt: skip
            name, full, empty, tail = parts(line, console.width - 1)
            bar = (("  ", ""), (full, "bar.complete"), (empty, "dim")) if full + empty else ()
            return Text.assemble(name, *bar, f"  {tail}", no_wrap=True)

    return WholeLine()
