"""Render facts as text with jinja2; each figure carries its name and exact value, for checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._version import __version__
from tledge.errors import RunError
from tledge.report import charts, overview, predictions
from tledge.report.facts import ReportFacts
from tledge.verification.flips import KIND_WORDS
from tledge.visualization import markdown as text_markdown
from tledge.visualization import templates
from tledge.visualization.text_format import (
    NONE,
    abstention,
    accuracy,
    duration,
    kib,
    percent,
    percent_span,
    point_span,
    points,
)

if TYPE_CHECKING:
    from jinja2 import Environment

FEW_IMAGES = 100
"""Images below which no reliability diagram is drawn: its bins would hold a handful each."""

TEMPLATES = Path(__file__).parent / "templates"


def short(value: float) -> str:
    """Return about three significant digits without an exponent."""
    digits = next((digits for top, digits in ((1, 3), (10, 2), (100, 1)) if value < top), 0)
    return f"{value:.{digits}f}"


FORMATS: dict[str, Callable[[Any], str]] = {
    "share": percent,
    "ece": lambda value: f"{value:.3f}",
    "count": lambda value: f"{value:,}",
    "kib": kib,
    "points": lambda value: points(value, digits=1),
    "short": short,
    "tiny": lambda value: f"{value:.1e}",
    "p": lambda value: f"{value:.3g}",
    "percent": lambda value: f"{value:.1%}",
    "minutes": lambda value: f"{value / 60:.1f}",
    "db": lambda value: f"{value:.1f}",
}
"""Formats of figures by name."""


def shown(value: float | None, how: str = "share") -> str:
    """Return a figure in a format of `FORMATS`, a dash for None."""
    return NONE if value is None else FORMATS[how](value)


def _points(change: float | None, low: float | None = None, high: float | None = None) -> str:
    return points(change, low, high, digits=1)


def html(facts: ReportFacts) -> str:
    """Return the report as one HTML file; raise MissingError without jinja2."""
    return _rendered("report.html.jinja", facts, escape=True)


def markdown(facts: ReportFacts) -> str:
    """Return the report as Markdown; raise MissingError without jinja2."""
    return text_markdown.single_blank_lines(_rendered("report.md.jinja", facts, escape=False))


def _rendered(name: str, facts: ReportFacts, *, escape: bool) -> str:
    template = _environment(escape).get_template(name)
    from jinja2 import UndefinedError

    try:
        return template.render(facts=facts, run=facts.run, version=__version__)
    except (UndefinedError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"{facts.run.name}: a file of the run lacks values that the report needs ({error}). "
            "It may come from another version of tledge. Train or export again."
        ) from error


def _environment(escape: bool) -> Environment:
    environment = templates.environment(TEMPLATES, escape_html=escape)
    environment.globals.update(
        fact=_fact, has=lambda value: value is not None, layout=charts, mark=_mark, few_images=FEW_IMAGES,
        kind_words=KIND_WORDS,
    )  # fmt: skip
    environment.filters.update(
        shown=shown, span=lambda pair: percent_span(*pair), points=_points,
        point_span=lambda pair: point_span(*pair), duration=duration, interval=accuracy,
        standing=overview.standing, abstention=abstention, cell=text_markdown.escape,
        code=text_markdown.code, path=text_markdown.address,
        shown_item=lambda row, key: row.get(key, NONE),
        ticked=_with_code, shown_of=lambda key, row: shown(row.get(key)), total=lambda row: sum(row.values()),
        fewest=_fewest, breakable=_breakable,
    )  # fmt: skip
    return environment


def _mark(standing: str) -> str:
    """Return the mark of a verdict, which shows it without colour."""
    return {"passed": "✓", "failed": "✗"}.get(standing, "?")


def _breakable(text: str) -> Any:
    """Return a name or path as HTML that may break after a slash, a dot, a hyphen or an underscore."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([/._-])(?=[^/._-])", r"\1<wbr>", str(escape(text))))


def _fewest(counts: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> list[str]:
    """Return all labels or, of many, those with the fewest photos in the first split."""
    first = next(iter(counts.values()))
    by_photos = sorted(labels, key=lambda label: first.get(label, 0))
    return list(labels) if len(labels) <= predictions.MOST_ROWS else by_photos[: predictions.MOST_ROWS]


def _with_code(text: str) -> Any:
    """Return a sentence as HTML, with text between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _fact(key: str, value: float | None, how: str = "share") -> Any:
    """Return a figure as HTML with its source and exact value; a dash for None."""
    from markupsafe import Markup

    if value is None:
        return NONE
    return Markup('<data value="{}" data-fact="{}">{}</data>').format(repr(value), key, shown(value, how))
