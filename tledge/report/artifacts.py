"""Gather the facts of a run's artifacts: latency, flips with images, cost of int8, quantization repairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tledge._io import files
from tledge._io.json_records import from_json
from tledge.bundle import model_card
from tledge.bundle.run_summary import Summary
from tledge.environment.machine import Machine
from tledge.quantization.sensitivity import Layer
from tledge.report import images as report_images
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow
from tledge.verification.flips import Flip, Listing, read_listing

MOST_FLIPS = 24
"""Images of flips for each artifact; its contact sheet has up to 60."""

MOST_LAYERS = 8
"""Layers in the table of the cost of int8."""

MIN_SIZE_RATIO = 1.5
"""Smallest ratio of sizes that is displayed."""

FLOAT = "tflite-fp32"
"""The variant whose quantization is diagnosed, and to which sizes are compared."""


@dataclass(frozen=True)
class ArtifactLine:
    """A row of `parity.json`, the interval of its accuracy, and its latency where that was measured."""

    row: ParityRow
    low: float | None
    high: float | None
    p50_ms: float | None
    latency_kernels: str
    smaller: float | None
    """Size ratio to the float `.tflite`, where it is notable."""
    repair: str
    """The quantization repair that was selected; empty without one."""


@dataclass(frozen=True)
class Picture:
    """A test image with a flip, as a data URI."""

    uri: str
    flip: Flip


@dataclass(frozen=True)
class Flips:
    """Predictions of an artifact that differ from Keras; `path` lists all, the image `sheet` shows 60."""

    listing: Listing
    pictures: tuple[Picture, ...]
    path: str
    sheet: str


@dataclass(frozen=True)
class Quantization:
    """The cost of int8, one layer at a time, on held-out images; `remarks` describe it."""

    images: int
    layers: tuple[Layer, ...]
    count: int
    remarks: tuple[str, ...]
    plot: str


@dataclass(frozen=True)
class RepairTrials:
    """Quantization repairs that were tried for an artifact, and the selected one."""

    variant: str
    trials: tuple[Mapping[str, Any], ...]
    taken: str


@dataclass(frozen=True)
class Latencies:
    """p50 in ms and kernels by variant, for one thread; `note` describes the machine."""

    figures: Mapping[str, tuple[float, str]]
    note: str


def artifacts(summary: Summary, latencies: Latencies | None) -> tuple[ArtifactLine, ...]:
    """Return every verified artifact, in the order of `parity.json`."""
    rows = summary.parity.rows if summary.parity else ()
    floats = next((row.bytes for row in rows if row.variant == FLOAT), None)
    lines = []
    for row in rows:
        low, high = model_card.accuracy_interval(row) or (None, None)
        p50, kernels = latencies.figures.get(row.variant, (None, "")) if latencies else (None, "")
        ratio = floats / row.bytes if floats and row.bytes else 0.0
        smaller = ratio if ratio >= MIN_SIZE_RATIO else None
        artifact = summary.artifacts.get(row.variant)
        repair = str(artifact.details.get("repair", "")) if artifact else ""
        lines.append(ArtifactLine(row, low, high, p50, kernels, smaller, repair))
    return tuple(lines)


def latencies(folder: RunFolder, summary: Summary) -> Latencies | None:
    """Read `bench.json`, for unchanged files only; None where there are no latencies."""
    if not folder.bench.is_file() or not summary.parity:
        return None
    raw = files.read_json(folder.bench, "a measured run", "Run `tledge bench` again.")
    with files.complete(folder.bench, "Run `tledge bench` again."):
        figures = {row.variant: best for row in summary.parity.rows if (best := _latency(raw["rows"], row))}
        machine = from_json(Machine, raw["machine"], "machine")
        notes = (machine.describe(), machine.busy, raw["note"])
        return Latencies(figures, " ".join(line for line in notes if line)) if figures else None


def _latency(rows: Sequence[Mapping[str, Any]], artifact: ParityRow) -> tuple[float, str] | None:
    """Return p50 on one thread, with the kernels of verification where these were measured."""
    measured = [
        row
        for row in rows
        if row.get("sha256") == artifact.sha256 and row["threads"] == 1 and row["p50_ms"] is not None
    ]
    chosen = next(
        (row for row in measured if row["kernels"] == artifact.kernels), measured[0] if measured else None
    )
    return (float(chosen["p50_ms"]), str(chosen["kernels"])) if chosen else None


def flips(folder: RunFolder, summary: Summary) -> tuple[Flips, ...]:
    """Return the flips of every artifact, with small images."""
    rows = [row for row in (summary.parity.rows if summary.parity else ()) if row.flips]
    if not rows:
        return ()
    reference = folder.read_golden()
    return tuple(_flips(folder, row, reference) for row in rows)


def _flips(folder: RunFolder, row: ParityRow, reference: golden_set.Golden) -> Flips:
    path = folder.member(row.flips)
    with files.complete(path, "Run `tledge verify` again."):
        listing = read_listing(path)
        flips = listing.flips[:MOST_FLIPS]
        pictures = tuple(Picture(report_images.photo(reference.images[flip.row]), flip) for flip in flips)
        return Flips(listing, pictures, row.flips, Path(row.flips).with_suffix(".png").as_posix())


def quantization(folder: RunFolder, summary: Summary) -> Quantization | None:
    """Read the diagnosis of `tledge inspect --quantization`, else that of a failed export.

    None where there is none, or where it is of another float artifact.
    """
    diagnoses = (_quantization(path, summary) for path in (folder.quantization, folder.culprits))
    return next((diagnosis for diagnosis in diagnoses if diagnosis), None)


def _quantization(path: Path, summary: Summary) -> Quantization | None:
    if not path.is_file():
        return None
    raw = files.read_json(path, "a diagnosed run", "Diagnose again.")
    with files.complete(path, "Run `tledge inspect --quantization` again."):
        if FLOAT not in summary.artifacts or raw["sha256"] != summary.artifacts[FLOAT].sha256:
            return None
        layers = sorted(
            from_json(tuple[Layer, ...], raw["found"]["layers"], "layers"),
            key=lambda layer: layer.cost,
            reverse=True,
        )
        plot = path.with_suffix(".png")
        return Quantization(
            images=raw["found"]["images"],
            layers=tuple(layers[:MOST_LAYERS]),
            count=len(layers),
            remarks=tuple(raw["remarks"]),
            plot=f"{path.parent.name}/{plot.name}" if plot.is_file() else "",
        )


def repair_trials(summary: Summary) -> tuple[RepairTrials, ...]:
    """Return the quantization repairs that were tried, for every repaired artifact."""
    return tuple(
        RepairTrials(variant, tuple(artifact.details["rungs"]), str(artifact.details["repair"]))
        for variant, artifact in summary.artifacts.items()
        if artifact.details.get("rungs")
    )
