"""Say at the top of a report what was trained, what passed, what to do first, and where the files are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from tledge._process.signals import quoted
from tledge.bundle.run_summary import Summary
from tledge.models.backbones import BACKBONES, split_name
from tledge.report.mistakes import Mistakes
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow

LINKS = (
    ("bundle/", "bundle"),
    ("bundle/preview.html", "preview page"),
    ("bundle/MODEL_CARD.md", "model card"),
    ("recipe.toml", "recipe"),
    ("logs/", "conversion logs"),
    ("history.csv", "figures of every epoch"),
    ("parity.json", "verification as JSON"),
)
"""Files and folders of a run that a report links to, where they exist."""


@dataclass(frozen=True)
class Step:
    """One thing to do next: a sentence, and the command to type; `anchor` is a section of the report."""

    sentence: str
    command: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Overview:
    """The top of a report: `standings` are the artifacts by verdict, `date` is empty if unknown."""

    date: str
    model: str
    standings: tuple[tuple[str, tuple[str, ...]], ...]
    steps: tuple[Step, ...]
    links: tuple[tuple[str, str], ...]


def read(folder: RunFolder, summary: Summary, mistakes: Mistakes | None) -> Overview:
    """Return the overview of a run; links are those to files that exist."""
    return Overview(
        date=summary.run.trained_on,
        model=_model(summary),
        standings=tuple(_standings(summary)),
        steps=tuple(_steps(summary, mistakes)),
        links=tuple((path, name) for path, name in LINKS if (folder.path / path).exists()),
    )


def _model(summary: Summary) -> str:
    """Return the backbone with its width multiplier, or the file of a model that was trained elsewhere."""
    name = summary.run.backbone
    if origin := summary.run.origin:
        return f"{origin.file}, {origin.framework} {origin.version}".rstrip()
    row = BACKBONES.get(split_name(name)[0])
    if summary.recipe and row and row.takes_alpha:
        return f"{name}, alpha {summary.recipe.model.alpha:g}"
    return name


def _rows(summary: Summary) -> tuple[ParityRow, ...]:
    return summary.parity.rows if summary.parity else ()


def standing(row: ParityRow) -> str:
    """Return the verdict of an artifact for a reader: "provisional" is one that is bundled undecided."""
    return "provisional" if row.provisional else row.verdict


def _standings(summary: Summary) -> Iterator[tuple[str, tuple[str, ...]]]:
    for kind in ("passed", "provisional", "undecided", "failed", "skipped"):
        variants = tuple(row.variant for row in _rows(summary) if standing(row) == kind)
        if variants:
            yield kind, variants


def _steps(summary: Summary, mistakes: Mistakes | None) -> Iterator[Step]:
    """Yield what to do next, the most urgent first."""
    run, rows = quoted(f"runs/{summary.run.name}"), _rows(summary)
    if not rows:
        yield Step("Convert the model, and compare every artifact with it:", f"tledge export {run} --int8")
    if any(row.verdict == "failed" and "int" in row.variant and not row.structural for row in rows):
        yield Step("An integer artifact failed. Try quantization fixes:", f"tledge export {run} --repair")
    unlabelled = max((_unlabelled(row) for row in rows), default=0)
    if unlabelled > 0:
        sentence = f"Verify on {unlabelled} or more further photos, which need no labels:"
        yield Step(sentence, f"tledge export {run} --photos FOLDER")
    needed = max((row.images_needed or 0 for row in rows if row.verdict == "undecided"), default=0)
    if needed:
        yield Step(_more_photos(summary, needed))
    if mistakes and mistakes.count:
        yield Step(
            f"Look at the {mistakes.count} of {mistakes.images} test photos that Keras gets wrong: "
            "wrong labels and unclear photos are often among them.",
            anchor="mistakes",
        )
    if any(row.is_bundled for row in rows):
        yield Step("Try the model in the browser:", f"tledge preview {run}")
        yield Step("Predict photos of your own:", f"tledge predict {run} PHOTO.jpg")
    yield Step("See whether a larger model or more epochs do better: change the recipe, and train again.")


def _unlabelled(row: ParityRow) -> int:
    """Return how many photos without labels would let a provisional artifact pass; 0 if not known."""
    return (row.independent_needed or 0) - (row.independent_images or 0) if row.provisional else 0


def _more_photos(summary: Summary, needed: int) -> str:
    """Say how many photos would decide the verdicts that are undecided, with the split as it is."""
    run, test = summary.run, max(1, summary.run.test.images)
    photos = run.train_images + run.validation.images + run.test.images
    start = "Or add" if any(_unlabelled(row) > 0 for row in _rows(summary)) else "Add"
    return (
        f"{start} photos with labels, then train and export again: the verdicts that are undecided need "
        f"{needed} test photos, this run has {test}. With the same split that takes about "
        f"{ceil(photos * needed / test):,} photos, {photos:,} are there now."
    )
