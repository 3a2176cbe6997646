"""`MODEL_CARD.md` of a bundle: what was measured, and marked gaps for what only its author knows.

It follows Mitchell et al., "Model Cards for Model Reporting" (2019). A figure comes from the run's
files, or its place says that it was not measured. The sentences stand in the template.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tledge.bundle import front_matter, render
from tledge.bundle.run_summary import Summary
from tledge.contract import OUTPUT_NAME
from tledge.data.sources.registry import SOURCES
from tledge.metrics import per_class, statistics
from tledge.metrics.parity_gates import MIN_CLASS_IMAGES
from tledge.metrics.per_class import Recall
from tledge.run.records import ParityRow
from tledge.visualization import markdown
from tledge.visualization.text_format import NONE, kib, percent, percent_span, points

MOST_CLASSES = 30
"""Classes up to which a table has a line for each; with more, only totals."""

MOST_WEAK = 5
"""Weak classes that are named for each model."""


@dataclass(frozen=True)
class ModelRecall:
    """A model's weak classes, the weakest first, and its class of the lowest recall."""

    name: str
    weak: tuple[Recall, ...]
    lowest: Recall


@dataclass(frozen=True)
class RecallSection:
    """Recall by class of Keras and of every artifact that differs, and what limits it.

    `unchanged` names artifacts with Keras' recall in every class, `too_few` classes with too few
    test images.
    """

    models: tuple[ModelRecall, ...]
    unchanged: tuple[str, ...]
    too_few: tuple[str, ...]


def text(summary: Summary, rows: Sequence[ParityRow], version: str) -> str:
    """Return the card of a run whose `rows` are bundled, written by tledge `version`.

    Raises MissingError without jinja2.
    """
    return render.render_template(
        "MODEL_CARD.md.jinja",
        known=summary,
        front_matter=front_matter.text(summary, rows),
        run=summary.run,
        rows=rows,
        version=version,
        output_name=OUTPUT_NAME,
        not_bytes=render.paths_without_bytes(rows),
        most_classes=MOST_CLASSES,
        most_weak=MOST_WEAK,
        class_images=MIN_CLASS_IMAGES,
        source_summary=_source_summary(summary),
        counts=_count_rows(summary),
        accuracies=list(_accuracy_rows(summary, rows)),
        recall=_recall_section(summary, [row for row in rows if row.recall]),
        artifact_files=[_file_row(row) for row in rows],
        versions=_versions(summary),
    )


def _source_summary(summary: Summary) -> str:
    """Describe the kind of the recipe's data source."""
    return SOURCES[summary.recipe.data.source.partition(":")[0]].summary if summary.recipe else ""


def _count_rows(summary: Summary) -> list[list[object]]:
    """Return the number of images by class and split, with totals in the last row."""
    splits = summary.counts.values()
    labels = summary.run.labels if len(summary.run.labels) <= MOST_CLASSES else ()
    totals = ["all", *(sum(counts.values()) for counts in splits)]
    return [*([label, *(counts.get(label, 0) for counts in splits)] for label in labels), totals]


def _accuracy_rows(summary: Summary, rows: Sequence[ParityRow]) -> Iterator[list[str]]:
    """Yield the figures of the Keras model and of every artifact."""
    test = summary.run.test
    yield [
        "Keras model",
        NONE,
        percent(test.accuracy),
        percent_span(test.low, test.high),
        NONE,
        NONE,
        "reference",
    ]
    for row in rows:
        low, high = accuracy_interval(row) or (None, None)
        change = points(row.accuracy_change, row.change_low, row.change_high, digits=1)
        figures = [percent(row.accuracy), percent_span(low, high) or NONE, change, percent(row.agreement)]
        yield [row.variant, kib(row.bytes), *figures, "provisional" if row.provisional else row.verdict]


def accuracy_interval(row: ParityRow) -> tuple[float, float] | None:
    """Return the 95 % Wilson interval of an artifact's accuracy; None where none was measured."""
    if row.accuracy is None or not row.images:
        return None
    return statistics.wilson(round(row.accuracy * row.images), row.images)


def _recall_section(summary: Summary, rows: Sequence[ParityRow]) -> RecallSection | None:
    """Return recall by class of rows that have it; None where there is none."""
    if not rows:
        return None
    keras = [per_class.class_recall(label, n, keras) for label, (n, keras, _) in rows[0].recall.items()]
    accuracy = summary.parity.reference.accuracy if summary.parity else summary.run.test.accuracy
    changed = [row for row in rows if _recall_differs(row)]
    return RecallSection(
        models=(_model_recall("Keras model", keras, accuracy), *map(_artifact_recall, changed)),
        unchanged=tuple(row.variant for row in rows if not _recall_differs(row)),
        too_few=tuple(recall.label for recall in keras if recall.images < MIN_CLASS_IMAGES),
    )


def _recall_differs(row: ParityRow) -> bool:
    return any(keras != own for _images, keras, own in row.recall.values())


def _artifact_recall(row: ParityRow) -> ModelRecall:
    recalls = [per_class.class_recall(label, images, own) for label, (images, _, own) in row.recall.items()]
    return _model_recall(markdown.code(row.variant), recalls, row.accuracy or 0.0)


def _model_recall(name: str, recalls: list[Recall], accuracy: float) -> ModelRecall:
    lowest = min(recalls, key=lambda recall: recall.recall)
    return ModelRecall(name, tuple(per_class.weak_classes(recalls, accuracy)), lowest)


def _file_row(row: ParityRow) -> tuple[str, str, str, str]:
    return row.path.rpartition("/")[2], f"{row.bytes:,}", row.kernels or NONE, row.sha256


def _versions(summary: Summary) -> list[tuple[str, str]]:
    """Return name and version of tledge, Python and packages; empty where the run did not note them."""
    environment = summary.environment
    if "tledge" not in environment:
        return []
    versions = {"tledge": environment["tledge"], "Python": environment.get("python", NONE)}
    return list({**versions, **environment.get("packages", {})}.items())
