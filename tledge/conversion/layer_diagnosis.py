"""The diagnosis stage: which layers lose most by int8, from a run's float `.tflite`, without TensorFlow.

Costs are measured on validation photos and changed copies of them. They put layers in an order; they say
nothing about test photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tledge._io import atomic, files
from tledge._io.json_records import stored_as
from tledge.conversion import calibration_data
from tledge.errors import ArtifactError, RunError
from tledge.progress import SILENT, Progress
from tledge.quantization import calibration_set
from tledge.quantization.sensitivity import (
    CORRECTED,
    OUTPUT,
    ROUNDED,
    Cost,
    Layer,
    Sensitivity,
    measure_sensitivity,
)
from tledge.recipe.definition import Recipe
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, TrainedRun
from tledge.visualization import plots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT = "tflite-fp32"
"""The artifact whose layers are measured."""

IMAGES = 125
"""Selection images, copies included, that predictions are compared on: 25 photos and four copies of each."""

MOST_CALIBRATION_IMAGES = 200
"""Calibration images that are measured at most: a thousand values of every tensor are kept of each."""

QUICK_IMAGES = 60
"""Selection images, and calibration images, of the quick search for the costliest layers."""

NOTABLE = 0.01
"""Loss of agreement that is reported: half of what the default gate allows a whole model."""

MOST_REPORTED = 3
"""Layers that are reported at most."""

WIDE = 10
"""Ratio of the widest to the median output channel that leaves the median one less than 5 of 8 bits."""

TABLE, PLOT = "evidence/quantization.json", "evidence/quantization.png"


@dataclass(frozen=True)
class Diagnosis:
    """`evidence/quantization.json`: path and SHA-256 of the measured artifact, what was measured, remarks."""

    run: str
    model: str
    sha256: str
    sensitivity: Sensitivity = field(metadata=stored_as("found"))
    remarks: tuple[str, ...]


@run_folder.alone
def diagnose(folder: RunFolder, recipe: Recipe, progress: Progress = SILENT) -> Diagnosis:
    """Quantize one layer after the other; write table and plot into the run's evidence.

    Raises:
        RunError: `tflite-fp32` was not exported.
        ArtifactError: it is gone, or was changed after the export.
        MissingError: matplotlib is not installed.
    """
    plots.check()
    run, artifact = folder.read_run(), _float_artifact(folder)
    calibration, images = _images(folder, recipe, run, MOST_CALIBRATION_IMAGES, IMAGES, progress)
    measured = measure_sensitivity(_model(folder, artifact), calibration, images, progress)
    diagnosis = _diagnosis(folder, artifact, measured)
    files.write_json(folder.path / TABLE, diagnosis)
    with atomic.replacing(folder.path / PLOT) as path:
        title = f"{run.name}: one layer at a time in 8 bits, {len(images)} held-out images"
        plots.layers([layer.name for layer in measured.layers], _panels(measured.layers), path, title)
    return diagnosis


@run_folder.alone
def diagnose_quickly(folder: RunFolder, recipe: Recipe, progress: Progress = SILENT) -> tuple[str, ...]:
    """Name the layers that cost an int8 artifact most, quickly: in a third of the time of `diagnose`.

    The figures are kept in `evidence/culprits.json`, as a Diagnosis.

    Args:
        folder: folder of the run.
        recipe: recipe of the run.
        progress: shows what is being measured.

    Returns:
        Sentences, the costliest layer first.

    Raises:
        RunError, ArtifactError: as `diagnose`.
    """
    run, artifact = folder.read_run(), _float_artifact(folder)
    calibration, images = _images(folder, recipe, run, QUICK_IMAGES, QUICK_IMAGES, progress)
    int8 = recipe.export.int8
    weights = CORRECTED if int8.bias_correction or int8.repair else ROUNDED
    model = _model(folder, artifact)
    measured = measure_sensitivity(model, calibration, images, progress, kinds=(weights, OUTPUT))
    diagnosis = _diagnosis(folder, artifact, measured)
    files.write_json(folder.culprits, diagnosis)
    return diagnosis.remarks


def _diagnosis(folder: RunFolder, artifact: Artifact, measured: Sensitivity) -> Diagnosis:
    run = str(folder.path)
    return Diagnosis(run, artifact.path, artifact.sha256, measured, remarks(measured, run))


def _images(
    folder: RunFolder, recipe: Recipe, run: TrainedRun, most_calibration: int, most: int, progress: Progress
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return calibration images with the blank ones, and the images to compare predictions on."""
    photos = calibration_data.calibration_images(folder, recipe, run, progress)
    evenly_chosen = photos[:: -(-len(photos) // most_calibration)]
    prepared = calibration_data.open_photos(recipe, run, progress)
    images, _labels = calibration_data.selection_set(recipe, run, prepared, most)
    return calibration_set.with_blanks(evenly_chosen), images


def _float_artifact(folder: RunFolder) -> Artifact:
    for artifact in folder.read_artifacts():
        if artifact.variant == FLOAT:
            return artifact
    raise RunError(
        f"{folder.path}: {FLOAT} is not exported; its layers are what is measured. "
        f"Run `tledge export {folder.path} --variant {FLOAT}`."
    )


def _model(folder: RunFolder, artifact: Artifact) -> bytes:
    """Read the artifact's file, and check its hash."""
    path = folder.member(artifact.path)
    if not path.is_file() or folder.sha256(path) != artifact.sha256:
        raise ArtifactError(f"{path}: missing, or changed after it was exported. Export again.")
    return path.read_bytes()


def _panels(layers: Sequence[Layer]) -> dict[str, dict[str, list[float | None]]]:
    """Return what to plot: by unit, by legend, a figure for each layer."""
    costs = {
        "outputs": [layer.output for layer in layers],
        "weights": [layer.rounded for layer in layers],
        "weights, biases corrected": [layer.corrected for layer in layers],
    }
    return {
        "agreement lost, points": {
            legend: [100 * cost.lost if cost else None for cost in column] for legend, column in costs.items()
        },
        "mean largest |Δp|": {
            legend: [cost.moved if cost else None for cost in column] for legend, column in costs.items()
        },
        "signal to noise, dB": {
            "outputs": [layer.output_db for layer in layers],
            "weights": [layer.weights_db for layer in layers],
            "weights, worst channel": [layer.worst_channel_db for layer in layers],
        },
    }


def remarks(measured: Sensitivity, run: str) -> tuple[str, ...]:
    """Return sentences on the costliest layers, and on all layers together.

    Args:
        measured: what was measured of each layer, and of all together.
        run: path of the run folder, for the command that the last sentence names.
    """
    notable = [layer for layer in measured.by_cost if layer.cost[0] >= NOTABLE][:MOST_REPORTED]
    lines = [line for layer in notable for line in _layer_remarks(layer)]
    if not lines:
        worst = measured.by_cost[0]
        lines = [f"No layer alone costs a point of agreement; {worst.name} changes predictions most."]
    lines += _total_remarks(measured.together)
    if notable:
        lines.append(f"`tledge export {run} --repair` tries quantization repairs one by one.")
    return tuple(lines)


def _layer_remarks(layer: Layer) -> list[str]:
    return [*_weight_remarks(layer), *_output_remarks(layer)]


def _weight_remarks(layer: Layer) -> list[str]:
    if layer.rounded and layer.rounded.lost >= NOTABLE:
        corrected = f", {_points(layer.corrected)} with bias correction" if layer.corrected else ""
        return [f"{layer.name}: rounding its weights costs {_points(layer.rounded)} of agreement{corrected}."]
    if layer.corrected and layer.corrected.lost >= NOTABLE:
        cost = _points(layer.corrected)
        return [f"{layer.name}: rounding its weights costs {cost} of agreement, with bias correction."]
    return []


def _output_remarks(layer: Layer) -> list[str]:
    if not layer.output or layer.output.lost < NOTABLE:
        return []
    ratio = f"{layer.output_channels:.0f} times as wide as the median channel"
    reason = f"; its widest channel is {ratio}" if layer.output_channels >= WIDE else ""
    value_range = f"({layer.low:.3g} to {layer.high:.3g})"
    cost = _points(layer.output)
    return [f"{layer.name}: outputs in 8 bits {value_range} cost {cost} of agreement{reason}."]


def _total_remarks(costs: dict[str, Cost]) -> list[str]:
    names = {
        ROUNDED: "all weights rounded",
        CORRECTED: "all weights rounded, with bias correction",
        OUTPUT: "all outputs in 8 bits",
    }
    parts = [f"{names[kind]} {_points(cost)}" for kind, cost in costs.items()]
    return [f"Together: {', '.join(parts)}."]


def _points(cost: Cost | None) -> str:
    return "–" if cost is None else f"{100 * cost.lost:.1f} points"
