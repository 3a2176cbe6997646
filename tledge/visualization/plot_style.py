"""Give plots the look of the report: its colours, few lines, titles at the left."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from tledge.errors import MissingError

P = ParamSpec("P")

PAPER, INK, SOFT, LINE = "#ffffff", "#1c2530", "#5b6876", "#e2e7ed"
BLUE, ORANGE = "#2b6cb0", "#c05621"
"""Colours of the report's light page."""

SERIES = (BLUE, ORANGE, "#1b7548", "#7a4fb0", "#8a5d00", "#b42d2d", "#0b6b63", "#5b6876")
"""Colours of variants, each with 4.5:1 or more on white."""

STYLE: dict[str, Any] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10,
    "text.color": INK, "text.parse_math": False,  # labels are text, not formulas
    "figure.facecolor": PAPER, "figure.titlesize": 13, "figure.titleweight": "bold",
    "axes.facecolor": PAPER, "axes.edgecolor": LINE, "axes.labelcolor": SOFT, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "axes.titlelocation": "left", "axes.titlesize": 10, "axes.titlecolor": SOFT,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": LINE, "grid.linewidth": 1,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.major.size": 0, "ytick.major.size": 0,
    "xtick.minor.size": 0, "ytick.minor.size": 0,
    "legend.frameon": False, "legend.labelcolor": SOFT, "lines.linewidth": 1.8,
}  # fmt: skip
"""Settings of matplotlib."""


def pyplot() -> Any:
    """Return matplotlib's pyplot, which draws to files alone; raise MissingError without it."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingError(f"matplotlib is not installed ({error}): pip install 'tledge[train]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def in_report_style(draw: Callable[P, None]) -> Callable[P, None]:
    """Have a function draw in the look of the report; settings of the caller's own plots stay."""

    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> None:
        with pyplot().rc_context(STYLE):
            draw(*arguments, **options)

    return drawn


def set_title(figure: Any, title: str) -> None:
    """Write the title of a figure at its left edge."""
    figure.suptitle(title, x=0.01, ha="left")
