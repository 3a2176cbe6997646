"""Render the texts of a bundle, `README.md` and `MODEL_CARD.md`, from the templates beside this module."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from tledge.bundle.manifest import Shipped
from tledge.formats.registry import VARIANTS
from tledge.metrics.per_class import Recall
from tledge.run.records import ParityRow
from tledge.visualization import markdown, templates
from tledge.visualization.text_format import abstention, kib, percent, percent_span

FOLDER = Path(__file__).parent / "templates"


def render_template(name: str, **values: object) -> str:
    """Return the text of a template with these values; raise MissingError without jinja2."""
    environment = templates.environment(FOLDER)
    environment.globals["table"] = markdown.table
    environment.filters.update(
        escape=markdown.escape, code=markdown.code, kib=kib, abstention=abstention,
        recall=_recall, count=lambda value: f"{value:,}", percent=percent, without_path=_without_path,
    )  # fmt: skip
    return markdown.single_blank_lines(environment.get_template(name).render(values))


def paths_without_bytes(entries: Iterable[Shipped | ParityRow]) -> list[str]:
    """Return the file names of the artifacts that take other numbers than the bytes of an image."""
    variants = ((entry, VARIANTS.get(entry.variant)) for entry in entries)
    return [Path(entry.path).name for entry, known in variants if known and known.mode.input != "uint8"]


def _without_path(source: str) -> str:
    """Return a source or backbone without folders of this machine: `folder:x` for `folder:/home/me/x`."""
    kind, colon, place = source.partition(":")
    path = PureWindowsPath(place)
    is_of_machine = bool(path.drive or path.root) or place.startswith(("~", ".."))
    return f"{kind}{colon}{path.name}" if is_of_machine else source


def _recall(recall: Recall) -> str:
    return f"{percent(recall.recall)} ({percent_span(recall.low, recall.high)}, {recall.images} images)"
