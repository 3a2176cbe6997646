"""All that a report says, as values: both templates read these and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tledge._io import files as io_files
from tledge._io import npy
from tledge.bundle import run_summary
from tledge.bundle.run_summary import Summary
from tledge.recipe import loader
from tledge.report import artifacts as report_artifacts
from tledge.report import images, predictions, reproduce, training
from tledge.report.artifacts import ArtifactLine, Flips, Latencies, Quantization, RepairTrials
from tledge.report.predictions import Predictions
from tledge.report.training import Training
from tledge.run.folder import RunFolder
from tledge.run.records import ParityReport, TrainedRun
from tledge.visualization.text_format import share, span

PRINCIPAL = ("tflite-int8", "tflite-mixed", "tflite-int16x8", "tflite-dynamic", "tflite-fp16", "onnx-int8")
"""Artifacts whose figures stand at the top, the first that there is."""

FILES = ("curves.png", "confusion.png", "bench.png", "evidence/photos.png")
"""Pictures that a run may have, for the text that a repository shows."""


@dataclass(frozen=True)
class Verdict:
    """The one thing to know: `kind` is "passed", "failed", "undecided" or "trained"."""

    kind: str
    word: str
    sentence: str
    detail: str = ""
    reasons: tuple[tuple[str, str], ...] = ()
    """Why, each with the artifact that it is about."""


@dataclass(frozen=True)
class Figure:
    """A figure at the top: its name, where it comes from, its value and how it is written, a note."""

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
    figures: tuple[Figure, ...]
    samples: Mapping[str, tuple[Sample, ...]]
    training: Training | None
    answers: Predictions | None
    artifacts: tuple[ArtifactLine, ...]
    latencies: Latencies | None
    flips: tuple[Flips, ...]
    quantization: Quantization | None
    ladders: tuple[RepairTrials, ...]
    calibration: Mapping[str, Any]
    commands: tuple[str, ...]
    recipe: str
    files: tuple[str, ...]

    @property
    def run(self) -> TrainedRun:
        """`run.json`."""
        return self.known.run


def read(folder: RunFolder) -> ReportFacts:
    """Read a finished run; raises RunError where it is none, or a file of it is damaged."""
    known = run_summary.read(folder)
    timed = report_artifacts.latencies(folder, known)
    lines = report_artifacts.artifacts(known, timed)
    has_recipe = folder.recipe.is_file()
    return ReportFacts(
        known=known,
        verdict=verdict(known),
        figures=_figures(known, lines),
        samples=_samples(folder),
        training=training.read(folder, known),
        answers=predictions.read(folder, known),
        artifacts=lines,
        latencies=timed,
        flips=report_artifacts.flips(folder, known),
        quantization=report_artifacts.quantization(folder, known),
        ladders=report_artifacts.repair_trials(known),
        calibration=_calibration(folder),
        commands=reproduce.commands(known),
        recipe=loader.text_of_run(folder) if has_recipe else "",
        files=tuple(name for name in FILES if (folder.path / name).is_file()),
    )


def verdict(known: Summary) -> Verdict:
    """What verification decided; after training alone, how the model does on test images."""
    return _of_parity(known.parity) if known.parity else _of_training(known.run)


def _of_training(run: TrainedRun) -> Verdict:
    score = run.test
    sentence = f"Right on {share(score.accuracy)} of {score.images} test images."
    below = f"below the recipe's own expectation of {share(run.expected)} on the test split"
    reasons = (("keras", below),) * (score.accuracy < run.expected)
    return Verdict("trained", "Trained", sentence, "Nothing is exported yet.", reasons)


def _of_parity(report: ParityReport) -> Verdict:
    checked = [row for row in report.rows if row.verdict != "skipped"]
    short = [row for row in checked if row.verdict != "passed"]
    reasons = tuple((row.variant, line) for row in report.rows for line in row.reasons)
    count = _artifacts(len(report.rows))
    if not checked:
        return Verdict("undecided", "Undecided", "No artifact could be checked here.", "", reasons)
    if short:
        failed = any(row.verdict == "failed" for row in short)
        kind, word = ("failed", "Failed") if failed else ("undecided", "Undecided")
        names = ", ".join(row.variant for row in short)
        return Verdict(kind, word, f"{len(short)} of {count} did not pass: {names}.", "", reasons)
    skipped = len(checked) < len(report.rows)
    whole = (
        f"{len(checked)} of {count} passed, the others were skipped." if skipped else f"All {count} passed."
    )
    return Verdict("passed", "Passed", whole, _least(report), reasons)


def _least(report: ParityReport) -> str:
    """What the artifact that differs most from Keras agrees to."""
    agreements = {row.variant: row.agreement for row in report.rows if row.agreement is not None}
    if not agreements:
        return ""
    variant = min(agreements, key=lambda name: agreements[name])
    if agreements[variant] == 1:
        return "Every answer is the Keras model's."
    return f"The least agreement with the Keras model is {share(agreements[variant])}, of {variant}."


def _artifacts(count: int) -> str:
    return f"{count} artifact" + "s" * (count != 1)


def _figures(known: Summary, lines: tuple[ArtifactLine, ...]) -> tuple[Figure, ...]:
    """Four figures: the model on test images, and the artifact that most devices get."""
    test = known.run.test
    note = f"{span(test.low, test.high)}, {test.images} images"
    first = Figure("Test accuracy, Keras", "run.test.accuracy", test.accuracy, "share", note)
    measured = [line for line in lines if line.row.accuracy is not None]
    chosen = next((line for name in PRINCIPAL for line in measured if line.row.variant == name), None)
    chosen = chosen or (measured[0] if measured else None)
    return (first, *(_of_artifact(chosen) if chosen else _of_run(known.run)))


def _of_artifact(line: ArtifactLine) -> tuple[Figure, ...]:
    row = line.row
    key = f"parity.{row.variant}"
    made = [Figure("Size, KiB", f"{key}.bytes", row.bytes, "kib", _smaller(line) or row.variant)]
    if row.agreement is not None:
        note = span(row.agreement_low, row.agreement_high)
        made.insert(0, Figure("Agreement with Keras", f"{key}.agreement", row.agreement, "share", note))
    if row.accuracy is not None:
        name = f"Test accuracy, {row.variant}"
        made.insert(0, Figure(name, f"{key}.accuracy", row.accuracy, "share", span(line.low, line.high)))
    return tuple(made)


def _smaller(line: ArtifactLine) -> str:
    return f"{line.smaller:.1f} times smaller than {report_artifacts.FLOAT}" if line.smaller else ""


def _of_run(run: TrainedRun) -> tuple[Figure, ...]:
    seen = run.validation
    note = f"{span(seen.low, seen.high)}, {seen.images} images"
    return (
        Figure("Validation accuracy", "run.validation.accuracy", seen.accuracy, "share", note),
        Figure("Parameters", "run.parameters", run.parameters, "count", run.backbone),
        Figure("Training, minutes", "run.seconds", run.seconds, "minutes", f"{run.train_images} images"),
    )


def _samples(folder: RunFolder) -> dict[str, tuple[Sample, ...]]:
    """Photos of each split that training kept."""
    if not folder.samples.is_file():
        return {}
    kept = npy.read_npz(folder.samples, "readable photos")
    with io_files.complete(folder.samples, "Train again."):
        made: dict[str, list[Sample]] = {}
        for split, label, name, pixels in zip(
            kept["splits"], kept["labels"], kept["ids"], kept["images"], strict=True
        ):
            made.setdefault(str(split), []).append(Sample(images.photo(pixels), str(label), str(name)))
        return {split: tuple(some) for split, some in made.items()}


def _calibration(folder: RunFolder) -> dict[str, Any]:
    if not folder.calibration.is_file():
        return {}
    return io_files.read_json(folder.calibration, "a calibrated run", "Export again.")
