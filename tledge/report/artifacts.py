"""What became of a run's artifacts: latency, answers that differ as pictures, what 8 bits cost, remedies."""

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
"""Pictures of answers that differ, of each artifact; its contact sheet has up to 60."""

MOST_LAYERS = 8
"""Layers in the table of what 8 bits cost."""

NOTABLY = 1.5
"""Times that an artifact is smaller from which on it is said."""

FLOAT = "tflite-fp32"
"""The artifact that quantization is diagnosed on, and that sizes are compared with."""


@dataclass(frozen=True)
class ArtifactLine:
    """A row of `parity.json`, the interval of its accuracy, and its latency where that was measured."""

    row: ParityRow
    low: float | None
    high: float | None
    p50_ms: float | None
    latency_kernels: str
    smaller: float | None
    """How many times smaller than the float `.tflite`, where that is much."""
    repair: str
    """The remedy that was taken, where it was repaired."""


@dataclass(frozen=True)
class Picture:
    """A test image that an artifact answers otherwise, as a data URI."""

    uri: str
    flip: Flip


@dataclass(frozen=True)
class Flips:
    """Answers of an artifact that are not Keras'; `path` lists all, the picture `sheet` shows up to 60."""

    listing: Listing
    pictures: tuple[Picture, ...]
    path: str
    sheet: str


@dataclass(frozen=True)
class Quantization:
    """What 8 bits cost, one layer at a time, on held-out images; `remarks` say it in sentences."""

    images: int
    layers: tuple[Layer, ...]
    count: int
    remarks: tuple[str, ...]
    plot: str


@dataclass(frozen=True)
class RepairTrials:
    """Remedies that were tried for an artifact, and the one that was taken."""

    variant: str
    rungs: tuple[Mapping[str, Any], ...]
    taken: str


@dataclass(frozen=True)
class Latencies:
    """p50 in ms and kernels by variant, for one thread; `note` says on what they were measured."""

    figures: Mapping[str, tuple[float, str]]
    note: str


def artifacts(known: Summary, found: Latencies | None) -> tuple[ArtifactLine, ...]:
    """Every artifact that was verified, in the order of `parity.json`."""
    rows = known.parity.rows if known.parity else ()
    floats = next((row.bytes for row in rows if row.variant == FLOAT), None)
    made = []
    for row in rows:
        low, high = model_card.accuracy_interval(row) or (None, None)
        p50, kernels = found.figures.get(row.variant, (None, "")) if found else (None, "")
        ratio = floats / row.bytes if floats and row.bytes else 0.0
        smaller = ratio if ratio >= NOTABLY else None
        artifact = known.artifacts.get(row.variant)
        repair = str(artifact.details.get("repair", "")) if artifact else ""
        made.append(ArtifactLine(row, low, high, p50, kernels, smaller, repair))
    return tuple(made)


def latencies(folder: RunFolder, known: Summary) -> Latencies | None:
    """From `bench.json`: only of files that are still the same. None where nothing of the kind is known."""
    if not folder.bench.is_file() or not known.parity:
        return None
    raw = files.read_json(folder.bench, "a measured run", "Run `tledge bench` again.")
    with files.complete(folder.bench, "Run `tledge bench` again."):
        figures = {row.variant: best for row in known.parity.rows if (best := _latency(raw["rows"], row))}
        here = from_json(Machine, raw["machine"], "machine")
        said = (here.describe(), here.busy, raw["note"])
        return Latencies(figures, " ".join(line for line in said if line)) if figures else None


def _latency(rows: Sequence[Mapping[str, Any]], artifact: ParityRow) -> tuple[float, str] | None:
    """p50 on one thread, with the kernels that verified where these were measured."""
    mine = [
        row
        for row in rows
        if row.get("sha256") == artifact.sha256 and row["threads"] == 1 and row["p50_ms"] is not None
    ]
    chosen = next((row for row in mine if row["kernels"] == artifact.kernels), mine[0] if mine else None)
    return (float(chosen["p50_ms"]), str(chosen["kernels"])) if chosen else None


def flips(folder: RunFolder, known: Summary) -> tuple[Flips, ...]:
    """Answers that differ, by artifact, with small pictures of them."""
    rows = [row for row in (known.parity.rows if known.parity else ()) if row.flips]
    if not rows:
        return ()
    reference = folder.read_golden()
    return tuple(_flips(folder, row, reference) for row in rows)


def _flips(folder: RunFolder, row: ParityRow, reference: golden_set.Golden) -> Flips:
    path = folder.path / row.flips
    with files.complete(path, "Run `tledge verify` again."):
        listing = read_listing(path)
        shown = listing.flips[:MOST_FLIPS]
        made = tuple(Picture(report_images.photo(reference.images[one.row]), one) for one in shown)
        return Flips(listing, made, row.flips, Path(row.flips).with_suffix(".png").as_posix())


def quantization(folder: RunFolder, known: Summary) -> Quantization | None:
    """What `tledge inspect --quantization` found, else what a failed export did.

    None where it is of another float artifact than the one that is here, or there is nothing.
    """
    found = (_quantization(path, known) for path in (folder.quantization, folder.culprits))
    return next((one for one in found if one), None)


def _quantization(path: Path, known: Summary) -> Quantization | None:
    if not path.is_file():
        return None
    raw = files.read_json(path, "a diagnosed run", "Diagnose again.")
    with files.complete(path, "Run `tledge inspect --quantization` again."):
        if FLOAT not in known.artifacts or raw["sha256"] != known.artifacts[FLOAT].sha256:
            return None
        layers = sorted(
            from_json(tuple[Layer, ...], raw["found"]["layers"], "layers"),
            key=lambda one: one.cost,
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


def repair_trials(known: Summary) -> tuple[RepairTrials, ...]:
    """Remedies tried, of every artifact that was repaired."""
    return tuple(
        RepairTrials(name, tuple(one.details["rungs"]), str(one.details["repair"]))
        for name, one in known.artifacts.items()
        if one.details.get("rungs")
    )
