"""Render the texts of a bundle, `README.md` and `MODEL_CARD.md`, from the templates beside this module."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tledge.bundle.manifest import Shipped
from tledge.formats.registry import VARIANTS
from tledge.metrics.per_class import Recall
from tledge.run.records import ParityRow
from tledge.visualization import markdown, templates
from tledge.visualization.text_format import abstention, kib, share, span

FOLDER = Path(__file__).parent / "templates"


def render_template(name: str, **values: object) -> str:
    """Return the text of a template with these values; raise MissingError without jinja2."""
    environment = templates.environment(FOLDER)
    environment.globals["table"] = markdown.table
    environment.filters.update(
        escape=markdown.escape, code=markdown.code, share=share, kib=kib, abstention=abstention,
        recall=_recall, count=lambda value: f"{value:,}", percent=lambda value: f"{value:.1%}",
    )  # fmt: skip
    return markdown.single_blank_lines(environment.get_template(name).render(values))


def paths_without_bytes(entries: Iterable[Shipped | ParityRow]) -> list[str]:
    """Return the file names of the artifacts that take other numbers than the bytes of an image."""
    variants = ((entry, VARIANTS.get(entry.variant)) for entry in entries)
    return [Path(entry.path).name for entry, known in variants if known and known.mode.input != "uint8"]


def _recall(recall: Recall) -> str:
    return f"{share(recall.recall)} ({span(recall.low, recall.high)}, {recall.images} images)"
