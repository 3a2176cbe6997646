"""The diagnosis stage: which layers lose most by 8 bits, from a run's float `.tflite`, without TensorFlow.

Costs are measured on validation photos and changed copies of them, and so order layers; they are no
claim about test photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tledge._io import atomic, files
from tledge.conversion import calibration_data
from tledge.errors import ArtifactError, RunError
from tledge.progress import SILENT, Progress
from tledge.quantization import calibration_set
from tledge.quantization.sensitivity import CORRECTED, OUTPUT, ROUNDED, Cost, Layer, Sensitivity, sensitivity
from tledge.recipe.definition import Recipe
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact
from tledge.visualization import plots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT = "tflite-fp32"
"""The artifact that is taken apart."""

IMAGES = 125
"""Held-out images, copies included, that answers are compared on: 25 photos and four copies of each."""

MOST = 200
"""Calibration images that are measured at most: a thousand values of every tensor are kept of each."""

FEW = 60
"""Held-out images, and calibration images, where layers are to be named and not measured in earnest."""

NOTABLE = 0.01
"""Loss of agreement that is worth a sentence: half of what the default gate allows a whole model."""

NAMED = 3
"""Layers that get a sentence."""

WIDE = 10
"""Ratio of the widest to the middle channel of outputs that leaves the middle one under 5 of 8 bits."""

TABLE, PLOT = "evidence/quantization.json", "evidence/quantization.png"


@dataclass(frozen=True)
class Diagnosis:
    """`evidence/quantization.json`: what was taken apart (path and SHA-256), the layers, in sentences."""

    run: str
    model: str
    sha256: str
    found: Sensitivity
    remarks: tuple[str, ...]


@run_folder.alone
def diagnose(folder: RunFolder, recipe: Recipe, progress: Progress = SILENT) -> Diagnosis:
    """Quantize one layer after the other; writes table and plot into the run's evidence.

    Raises RunError where `tflite-fp32` was not exported, MissingError without matplotlib.
    """
    plots.check()
    run, artifact = folder.read_run(), _float_artifact(folder)
    calibration = _some(calibration_data.calibration_images(folder, recipe, run, progress), MOST)
    images, _ = calibration_data.held_out_images(recipe, run, IMAGES, progress)
    found = sensitivity(_model(folder, artifact), calibration, images, progress)
    made = Diagnosis(
        str(folder.path), artifact.path, artifact.sha256, found, remarks(found, str(folder.path))
    )
    files.write_json(folder.path / TABLE, made)
    with atomic.replacing(folder.path / PLOT) as path:
        title = f"{run.name}: one layer at a time in 8 bits, {len(images)} held-out images"
        plots.layers([one.name for one in found.layers], _panels(found.layers), path, title)
    return made


def _panels(layers: Sequence[Layer]) -> dict[str, dict[str, list[float | None]]]:
    """What is drawn: unit, legend, figures."""
    costs = {
        "outputs": [one.output for one in layers],
        "weights": [one.rounded for one in layers],
        "weights, biases corrected": [one.corrected for one in layers],
    }
    return {
        "agreement lost, points": {
            name: [100 * one.lost if one else None for one in some] for name, some in costs.items()
        },
        "mean largest |Δp|": {
            name: [one.moved if one else None for one in some] for name, some in costs.items()
        },
        "signal to noise, dB": {
            "outputs": [one.output_db for one in layers],
            "weights": [one.weights_db for one in layers],
            "weights, worst channel": [one.worst_channel_db for one in layers],
        },
    }


@run_folder.alone
def culprits(folder: RunFolder, recipe: Recipe, progress: Progress = SILENT) -> tuple[str, ...]:
    """Sentences on the layers that cost an int8 artifact most, quickly: a third of what `diagnose` does.

    What they rest on is kept in `evidence/culprits.json`, as a Diagnosis.

    Raises what `diagnose` raises for a run that cannot be taken apart.
    """
    run, artifact = folder.read_run(), _float_artifact(folder)
    some = _some(calibration_data.calibration_images(folder, recipe, run, progress), FEW)
    images, _ = calibration_data.held_out_images(recipe, run, FEW, progress)
    weights = CORRECTED if recipe.export.int8.bias_correction or recipe.export.int8.repair else ROUNDED
    found = sensitivity(_model(folder, artifact), some, images, progress, kinds=(weights, OUTPUT))
    said = remarks(found, str(folder.path))
    files.write_json(
        folder.culprits, Diagnosis(str(folder.path), artifact.path, artifact.sha256, found, said)
    )
    return said


def _some(photos: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """At most so many of the photos, evenly chosen, and the blanks that the conversion adds."""
    return calibration_set.with_blanks(photos[:: -(-len(photos) // most)])


def _float_artifact(folder: RunFolder) -> Artifact:
    for artifact in folder.read_artifacts():
        if artifact.variant == FLOAT:
            return artifact
    raise RunError(
        f"{folder.path}: {FLOAT} is not exported, and it is what is taken apart. "
        f"Run `tledge export {folder.path} --variant {FLOAT}`."
    )


def _model(folder: RunFolder, artifact: Artifact) -> bytes:
    path = folder.path / artifact.path
    if not path.is_file() or folder.sha256(path) != artifact.sha256:
        raise ArtifactError(f"{path}: gone, or changed after it was exported. Export again.")
    return path.read_bytes()


def remarks(found: Sensitivity, run: str) -> tuple[str, ...]:
    """What the figures say, as far as they do: the costliest layers, and all of them together."""
    notable = [one for one in found.by_cost if one.cost[0] >= NOTABLE][:NAMED]
    lines = [line for one in notable for line in _of_layer(one)]
    if not lines:
        worst = found.by_cost[0]
        lines = [f"No layer alone costs a point of agreement; {worst.name} changes answers most."]
    lines += _together(found.together)
    if notable:
        lines.append(f"`tledge export {run} --repair` tries remedies one after the other and measures them.")
    return tuple(lines)


def _of_layer(layer: Layer) -> list[str]:
    lines = []
    if layer.rounded and layer.rounded.lost >= NOTABLE:
        after = f", {_points(layer.corrected)} with its biases corrected" if layer.corrected else ""
        lines.append(
            f"{layer.name}: rounding its weights costs {_points(layer.rounded)} of agreement{after}."
        )
    elif layer.corrected and layer.corrected.lost >= NOTABLE:
        lines.append(
            f"{layer.name}: rounding its weights costs {_points(layer.corrected)} of agreement, "
            "with its biases corrected."
        )
    if layer.output and layer.output.lost >= NOTABLE:
        wide = layer.output_channels >= WIDE
        why = f"; its widest channel is {layer.output_channels:.0f} times the middle one" if wide else ""
        span = f"({layer.low:.3g} to {layer.high:.3g})"
        lines.append(
            f"{layer.name}: outputs in 8 bits {span} cost {_points(layer.output)} of agreement{why}."
        )
    return lines


def _together(costs: dict[str, Cost]) -> list[str]:
    names = {
        ROUNDED: "all weights rounded",
        CORRECTED: "all weights rounded and biases corrected",
        OUTPUT: "all outputs in 8 bits",
    }
    parts: Sequence[str] = [f"{names[what]} {_points(cost)}" for what, cost in costs.items()]
    return [f"Together: {', '.join(parts)}."]


def _points(cost: Cost | None) -> str:
    return "–" if cost is None else f"{100 * cost.lost:.1f} points"
