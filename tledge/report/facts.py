"""Gather the facts of a report as values; the templates read nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tledge._io import files as io_files
from tledge._io import npy
from tledge._io.json_records import from_json
from tledge.bundle import run_summary
from tledge.bundle.run_summary import Summary
from tledge.data.sources import left_out
from tledge.data.sources.left_out import LeftOut
from tledge.recipe import loader
from tledge.report import artifacts as report_artifacts
from tledge.report import images, mistakes, overview, predictions, reproduce, training
from tledge.report.artifacts import ArtifactLine, Flips, Latencies, Quantization, RepairTrials
from tledge.report.mistakes import Mistakes
from tledge.report.overview import Overview
from tledge.report.predictions import Predictions
from tledge.report.training import Training
from tledge.run.folder import RunFolder
from tledge.run.records import SKIPPED, ParityReport, ParityRow, TrainedRun
from tledge.visualization.text_format import percent, percent_span

HEADLINE_VARIANTS = (
    "tflite-int8",
    "tflite-mixed",
    "tflite-int16x8",
    "tflite-dynamic",
    "tflite-fp16",
    "onnx-int8",
)
"""Variants for the figures at the top: the first one that was exported."""

FILES = ("curves.png", "confusion.png", "bench.png", "evidence/photos.png")
"""Images that a run may have, for the Markdown report."""


@dataclass(frozen=True)
class Verdict:
    """The result of the run: `kind` is "passed", "failed", "undecided" or "trained"."""

    kind: str
    word: str
    sentence: str
    detail: str = ""
    reasons: tuple[tuple[str, str], ...] = ()
    """Reasons, each with the artifact that it concerns."""


@dataclass(frozen=True)
class Figure:
    """A figure at the top: its name, its source, its value, the name of its format, a note."""

    name: str
    key: str
    value: float
    how: str
    note: str = ""


@dataclass(frozen=True)
class Sample:
    """A photo of a split, as a data URI."""

    uri: str
    label: str
    id: str


@dataclass(frozen=True)
class ReportFacts:
    """A whole report."""

    known: Summary
    verdict: Verdict
    overview: Overview
    figures: tuple[Figure, ...]
    samples: Mapping[str, tuple[Sample, ...]]
    training: Training | None
    answers: Predictions | None
    mistakes: Mistakes | None
    left_out: tuple[str, ...]
    """Files and folders that the data source passed over, a line for each reason."""
    artifacts: tuple[ArtifactLine, ...]
    latencies: Latencies | None
    flips: tuple[Flips, ...]
    quantization: Quantization | None
    repairs: tuple[RepairTrials, ...]
    calibration: Mapping[str, Any]
    commands: tuple[str, ...]
    recipe: str
    files: tuple[str, ...]

    @property
    def run(self) -> TrainedRun:
        """`run.json`."""
        return self.known.run


def read(folder: RunFolder) -> ReportFacts:
    """Read a finished run; raise RunError if it is not finished, or a file of it is damaged."""
    summary = run_summary.read(folder)
    latencies = report_artifacts.latencies(folder, summary)
    lines = report_artifacts.artifacts(summary, latencies)
    has_recipe = folder.recipe.is_file()
    wrong = mistakes.read(folder, summary)
    return ReportFacts(
        known=summary,
        verdict=verdict(summary),
        overview=overview.read(folder, summary, wrong),
        figures=_figures(summary, lines),
        samples=_samples(folder),
        training=training.read(folder, summary),
        answers=predictions.read(folder, summary),
        mistakes=wrong,
        left_out=_left_out(folder, summary),
        artifacts=lines,
        latencies=latencies,
        flips=report_artifacts.flips(folder, summary),
        quantization=report_artifacts.quantization(folder, summary),
        repairs=report_artifacts.repair_trials(summary),
        calibration=_calibration(folder),
        commands=reproduce.commands(summary),
        recipe=loader.text_of_run(folder) if has_recipe else "",
        files=tuple(name for name in FILES if (folder.path / name).is_file()),
    )


def verdict(summary: Summary) -> Verdict:
    """Return the verdict of verification; before export, the accuracy on test images."""
    return _of_parity(summary.parity) if summary.parity else _of_training(summary.run)


def _of_training(run: TrainedRun) -> Verdict:
    score = run.test
    sentence = f"Accuracy {percent(score.accuracy)} on {score.images} test images."
    below = f"below the recipe's own expectation of {percent(run.expected)} on the test split"
    reasons = (("keras", below),) * (score.accuracy < run.expected)
    return Verdict("trained", "Trained", sentence, "Nothing is exported yet.", reasons)


def _of_parity(report: ParityReport) -> Verdict:
    checked = [row for row in report.rows if row.verdict != SKIPPED]
    not_passed = [row for row in checked if row.verdict != "passed"]
    reasons = tuple((row.variant, line) for row in report.rows for line in row.reasons)
    count = _artifacts(len(report.rows))
    if not checked:
        return Verdict("undecided", "Undecided", "No artifact could be checked here.", "", reasons)
    if not_passed:
        failed = any(row.verdict == "failed" for row in not_passed)
        kind, word = ("failed", "Failed") if failed else ("undecided", "Undecided")
        names = ", ".join(row.variant for row in not_passed)
        outcome = "did not pass" if failed else "could not be confirmed"
        sentence = f"{len(not_passed)} of {count} {outcome}: {names}."
        return Verdict(kind, word, sentence, _bundled_as_provisional(not_passed), reasons)
    skipped = len(checked) < len(report.rows)
    sentence = (
        f"{len(checked)} of {count} passed, the others were skipped." if skipped else f"All {count} passed."
    )
    return Verdict("passed", "Passed", sentence, _least_agreement(report), reasons)


def _bundled_as_provisional(rows: Sequence[ParityRow]) -> str:
    """Name the artifacts that are bundled though images are too few to confirm them; "" for none."""
    names = [row.variant for row in rows if row.provisional]
    return f"In the bundle as provisional: {', '.join(names)}." if names else ""


def _least_agreement(report: ParityReport) -> str:
    """Describe the agreement of the artifact that differs most from Keras."""
    agreements = {row.variant: row.agreement for row in report.rows if row.agreement is not None}
    if not agreements:
        return ""
    variant = min(agreements, key=lambda name: agreements[name])
    if agreements[variant] == 1:
        return "All predictions match Keras."
    return f"The lowest agreement with the Keras model is {percent(agreements[variant])}, of {variant}."


def _artifacts(count: int) -> str:
    return f"{count} artifact" + "s" * (count != 1)


def _figures(summary: Summary, lines: tuple[ArtifactLine, ...]) -> tuple[Figure, ...]:
    """Return four figures: the model on test images, and the artifact for most devices."""
    test = summary.run.test
    note = f"{percent_span(test.low, test.high)}, {test.images} images"
    first = Figure("Test accuracy, Keras", "run.test.accuracy", test.accuracy, "share", note)
    measured = [line for line in lines if line.row.accuracy is not None]
    chosen = next((line for name in HEADLINE_VARIANTS for line in measured if line.row.variant == name), None)
    chosen = chosen or (measured[0] if measured else None)
    return (first, *(_of_artifact(chosen) if chosen else _of_run(summary.run)))


def _of_artifact(line: ArtifactLine) -> tuple[Figure, ...]:
    row = line.row
    key = f"parity.{row.variant}"
    figures = [Figure("Size, KiB", f"{key}.bytes", row.bytes, "kib", _smaller(line) or row.variant)]
    if row.agreement is not None:
        note = _of_images(percent_span(row.agreement_low, row.agreement_high), row.images)
        figures.insert(0, Figure("Agreement with Keras", f"{key}.agreement", row.agreement, "share", note))
    if row.accuracy is not None:
        name = f"Test accuracy, {row.variant}"
        note = percent_span(line.low, line.high)
        figures.insert(
            0, Figure(name, f"{key}.accuracy", row.accuracy, "share", _of_images(note, row.images))
        )
    return tuple(figures)


def _of_images(text: str, images: int) -> str:
    """Return the note of a figure: its interval and the number of images."""
    return ", ".join(part for part in (text, f"{images} images" if images else "") if part)


def _smaller(line: ArtifactLine) -> str:
    return f"{line.smaller:.1f} times smaller than {report_artifacts.FLOAT}" if line.smaller else ""


def _of_run(run: TrainedRun) -> tuple[Figure, ...]:
    validation = run.validation
    note = f"{percent_span(validation.low, validation.high)}, {validation.images} images"
    return (
        Figure("Validation accuracy", "run.validation.accuracy", validation.accuracy, "share", note),
        Figure("Parameters", "run.parameters", run.parameters, "count", run.backbone),
        Figure("Training, minutes", "run.seconds", run.seconds, "minutes", f"{run.train_images} images"),
    )


def _left_out(folder: RunFolder, summary: Summary) -> tuple[str, ...]:
    """Return what the data source passed over, as `tledge data` prints it."""
    with io_files.complete(folder.data, "Train again."):
        groups = from_json(dict[str, LeftOut], summary.photos.get("left_out", {}), "left_out")
    return tuple(left_out.sentences(groups))


def _samples(folder: RunFolder) -> dict[str, tuple[Sample, ...]]:
    """Return the photos of each split that training recorded."""
    if not folder.samples.is_file():
        return {}
    arrays = npy.read_npz(folder.samples, "readable photos")
    with io_files.complete(folder.samples, "Train again."):
        samples: dict[str, list[Sample]] = {}
        for split, label, name, pixels in zip(
            arrays["splits"], arrays["labels"], arrays["ids"], arrays["images"], strict=True
        ):
            samples.setdefault(str(split), []).append(Sample(images.photo(pixels), str(label), str(name)))
        return {split: tuple(photos) for split, photos in samples.items()}


def _calibration(folder: RunFolder) -> dict[str, Any]:
    if not folder.calibration.is_file():
        return {}
    return io_files.read_json(folder.calibration, "a calibrated run", "Export again.")
