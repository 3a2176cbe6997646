"""Images that a run keeps beside its artifacts: to calibrate on, and to choose and diagnose by.

None of them verifies: calibration takes train photos, the rest validation photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic, files
from tledge.data import cache, prepare, sampling, splits
from tledge.errors import DataError
from tledge.progress import SILENT, Progress
from tledge.quantization import calibration_set, selection_images
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, TrainedRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION = "evidence/calibration.npy"
"""Where in a run the images lie that ranges are measured on."""

HELD_OUT = "evidence/held_out.npz"
"""Where in a run the images lie that remedies are chosen by."""


def calibration(folder: RunFolder, recipe: Recipe, run: TrainedRun, progress: Progress = SILENT) -> Path:
    """Write the calibration images and `calibration.json`; gives the path of the images.

    None of them is an image that verifies: a train photo that equals a test photo is left out, and
    named. Raises DataError where they cannot serve, or where none is left.
    """
    import numpy as np

    prepared, rows = _drawn(recipe, run, progress)
    images = prepared.images()[rows]
    calibration_set.require_usable(images)
    entries = [
        calibration_set.CalibrationEntry(
            row, prepared.rows[row].id, prepared.rows[row].label, calibration_set.digest(image)
        )
        for row, image in zip(rows.tolist(), images, strict=True)
    ]
    reference = folder.read_golden()
    tested = calibration_set.digests(reference)
    if copies := calibration_set.copies(entries, tested):
        progress.say(f"warning: {calibration_set.left_out(entries, copies)}")
    kept = [place for place in range(len(entries)) if place not in copies]
    disjoint = {
        "file": folder.golden.name,
        "images": len(reference.ids),
        "left_out": [f"{entries[place].id} is {name}" for place, name in copies.items()],
    }
    entries, images = [entries[place] for place in kept], images[kept]
    assert not calibration_set.copies(entries, tested), "what verifies must not have calibrated"
    path = folder.path / CALIBRATION
    with atomic.replacing(path) as made:
        np.save(made, images)
    facts = {"path": CALIBRATION, "sha256": files.sha256(path), "seed": run.seed, "split": "train"}
    files.write_json(folder.calibration, calibration_set.record(images, entries, disjoint, **facts))
    return path


def _drawn(recipe: Recipe, run: TrainedRun, progress: Progress) -> tuple[cache.Prepared, NDArray[np.int64]]:
    """The prepared photos, and the rows to calibrate on: train photos, classes in turn."""
    count = recipe.export.calibration.images
    if count < 1:
        raise DataError(
            "[export.calibration] images = 0: the calibration set is empty. An int8 model needs "
            "at least one image, 100 to 500 are usual."
        )
    prepared = photos(recipe, run, progress)
    rows = splits.split(prepared, recipe.data, run.seed)["train"]
    return prepared, rows[sampling.by_class_in_turn(prepared.label_indices[rows], count, run.seed)]


def note_stability(folder: RunFolder, artifacts: Sequence[Artifact], progress: Progress = SILENT) -> None:
    """Add to `calibration.json` how steady the ranges of a conversion were; say if they were not."""
    found = [one.details["stability"] for one in artifacts if "stability" in one.details]
    if not found:
        return
    known = files.read_json(folder.calibration, "a calibrated run", "Export again.")
    files.write_json(folder.calibration, {**known, "stability": found[0]})
    if found[0]["warning"]:
        progress.say(f"warning: {found[0]['warning']}")


def calibration_images(
    folder: RunFolder, recipe: Recipe, run: TrainedRun, progress: Progress = SILENT
) -> NDArray[np.uint8]:
    """The images uint8[N, H, W, 3] that an export calibrated on, or would; blanks are not among them."""
    import numpy as np

    path = folder.path / CALIBRATION
    if path.is_file():
        images: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    else:
        prepared, rows = _drawn(recipe, run, progress)
        images = prepared.images()[rows]
    calibration_set.require_usable(images)
    return images


def photos(recipe: Recipe, run: TrainedRun, progress: Progress = SILENT) -> cache.Prepared:
    """The prepared photos that the run was trained on."""
    cached = Path(run.cache)
    # A run that was trained on another machine knows the cache by the same name, elsewhere.
    here = [
        folder for folder in (cached, cache.cache_root() / cached.name) if (folder / "index.json").is_file()
    ]
    if here:
        return cache.open_cache(here[0])
    prepared = prepare.prepare_dataset(recipe.data, recipe.model.image_size, progress)
    if prepared.folder.name != cached.name:
        raise DataError(
            f"{cached}: the prepared photos of this run are gone, and the source has other photos "
            "now. Calibration would see photos that training did not. Train again."
        )
    return prepared


def held_out_images(
    recipe: Recipe, run: TrainedRun, most: int, progress: Progress = SILENT
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Validation photos, classes in turn, and changed copies of them, `most` in all; and their labels."""
    prepared = photos(recipe, run, progress)
    rows = splits.split(prepared, recipe.data, run.seed)["validation"]
    labels = prepared.label_indices
    chosen = rows[
        sampling.by_class_in_turn(labels[rows], most // (1 + len(selection_images.CHANGES)), run.seed)
    ]
    return selection_images.varied(prepared.images()[chosen], labels[chosen])


def write_held_out(folder: RunFolder, recipe: Recipe, run: TrainedRun, progress: Progress = SILENT) -> None:
    """Write held-out images and labels, to choose remedies by."""
    selection_images.save(
        folder.path / HELD_OUT, *held_out_images(recipe, run, selection_images.MOST, progress)
    )
