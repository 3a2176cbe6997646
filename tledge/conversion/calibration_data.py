"""Images that a run keeps beside its artifacts: to calibrate on, and to choose and diagnose by.

None of them verifies: calibration takes train photos, the rest validation photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic, cache_folder, files, npy, ownership
from tledge.data import cache, prepare, sampling, splits
from tledge.errors import DataError
from tledge.progress import SILENT, Progress
from tledge.quantization import calibration_set, selection_images
from tledge.quantization.calibration_set import CalibrationEntry, CalibrationRecord
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, TrainedRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION = "evidence/calibration.npy"
"""Where in a run the images lie that ranges are measured on."""

HELD_OUT = "evidence/held_out.npz"
"""Where in a run the images lie that quantization repairs are chosen by."""


@dataclass(frozen=True)
class WrittenCalibration:
    """Calibration images that were written: the path of their `.npy` file, and their record."""

    path: Path
    record: CalibrationRecord


def write_calibration_images(
    folder: RunFolder,
    recipe: Recipe,
    run: TrainedRun,
    prepared: cache.Prepared,
    progress: Progress = SILENT,
) -> WrittenCalibration:
    """Write the calibration images and `calibration.json`.

    None of them is an image that verifies: a train photo that equals an image of the golden set, pixel
    by pixel, is left out, and named.

    Raises:
        DataError: the images cannot calibrate, or all of them are test photos.
    """
    import numpy as np

    images, entries = _choose_images(recipe, run, prepared)
    golden = folder.read_golden()
    test_ids = calibration_set.ids_by_sha256(golden)
    copies = calibration_set.find_copies(entries, test_ids)
    if copies:
        progress.say(f"warning: {calibration_set.describe_copies(entries, copies, recipe.data.group)}")
    disjoint = {
        "file": folder.golden.name,
        "images": len(golden.ids),
        "left_out": [f"{entries[place].id} is {test_id}" for place, test_id in copies.items()],
    }
    kept = [place for place in range(len(entries)) if place not in copies]
    images, entries = images[kept], [entries[place] for place in kept]
    assert not calibration_set.find_copies(entries, test_ids), "a calibration image must not verify"
    path = folder.path / CALIBRATION
    with atomic.replacing(path) as new_path:
        np.save(new_path, images)
    facts = {"path": CALIBRATION, "sha256": folder.sha256(path), "seed": run.seed, "split": "train"}
    record = calibration_set.make_record(images, entries, disjoint, **facts)
    files.write_json(folder.calibration, record)
    return WrittenCalibration(path, record)


def _choose_images(
    recipe: Recipe, run: TrainedRun, prepared: cache.Prepared
) -> tuple[NDArray[np.uint8], list[CalibrationEntry]]:
    """Choose train photos, and return their pixels uint8[N, H, W, 3] and an entry for each."""
    rows = _calibration_rows(recipe, run, prepared)
    images = prepared.images()[rows]
    calibration_set.require_usable(images)
    entries = [
        CalibrationEntry(
            row, prepared.rows[row].id, prepared.rows[row].label, calibration_set.pixel_sha256(image)
        )
        for row, image in zip(rows.tolist(), images, strict=True)
    ]
    return images, entries


def _calibration_rows(recipe: Recipe, run: TrainedRun, prepared: cache.Prepared) -> NDArray[np.int64]:
    """Return the rows int64[N] of the cache to calibrate on: train photos, the classes in turn."""
    count = recipe.export.calibration.images
    if count < 1:
        raise DataError(
            "[export.calibration] images = 0: the calibration set is empty. An int8 model needs "
            "at least one image, 100 to 500 are usual."
        )
    rows = splits.split(prepared, recipe.data, run.seed)["train"]
    return rows[sampling.by_class_in_turn(prepared.label_indices[rows], count, run.seed)]


def note_stability(
    folder: RunFolder,
    record: CalibrationRecord,
    artifacts: Sequence[Artifact],
    progress: Progress = SILENT,
) -> None:
    """Add to `calibration.json` how stable the ranges of a conversion were; warn where they were not."""
    reports = [artifact.details["stability"] for artifact in artifacts if "stability" in artifact.details]
    if not reports:
        return
    files.write_json(folder.calibration, replace(record, stability=reports[0]))
    if reports[0]["warning"]:
        progress.say(f"warning: {reports[0]['warning']}")


def calibration_images(
    folder: RunFolder, recipe: Recipe, run: TrainedRun, progress: Progress = SILENT
) -> NDArray[np.uint8]:
    """Return the images uint8[N, H, W, 3] that an export calibrated on, or would; without the blank ones."""
    path = folder.path / CALIBRATION
    if path.is_file():
        images: NDArray[np.uint8] = npy.read_npy(path, "readable calibration images")
    else:
        prepared = open_photos(recipe, run, progress)
        images = prepared.images()[_calibration_rows(recipe, run, prepared)]
    calibration_set.require_usable(images)
    return images


def open_photos(recipe: Recipe, run: TrainedRun, progress: Progress = SILENT) -> cache.Prepared:
    """Open the cache of photos that the run was trained on; decode them again where it is gone.

    Raises:
        DataError: the cache is gone and the source has other photos now.
    """
    trained_cache = Path(run.cache)
    # A run that was trained on another machine has a cache of the same name in another folder.
    for folder in (trained_cache, cache_folder.cache_root() / trained_cache.name):
        if _is_usable(folder, progress):
            return cache.with_recorded_labels(cache.open_cache(folder), run.labels)
    prepared = prepare.prepare_dataset(recipe.data, recipe.model.image_size, progress)
    if prepared.folder.name != trained_cache.name:
        raise DataError(
            f"{trained_cache}: the cached photos of this run are gone, and the source has other photos "
            "now. Calibration would see photos that training did not. Train again."
        )
    return cache.with_recorded_labels(prepared, run.labels)


def _is_usable(folder: Path, progress: Progress) -> bool:
    """Tell whether a cache of photos is there and this account's own; say so where it is another's."""
    try:
        reason = ownership.fault_on_the_way(folder.parent) or ownership.fault_within(folder)
    except OSError:
        return False
    if reason:
        progress.say(f"{folder}: not used, because another account could have changed it: {reason}")
        return False
    return (folder / "index.json").is_file()


def selection_set(
    recipe: Recipe, run: TrainedRun, prepared: cache.Prepared, most: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return validation photos, followed by changed copies of them, and the label of each.

    Args:
        recipe: recipe of the run.
        run: the trained run; its seed decides the split and the choice.
        prepared: the cache of photos that the run was trained on.
        most: number of images to return at most, copies included.

    Returns:
        Images uint8[N, H, W, 3] and label indices int64[N].
    """
    rows = splits.split(prepared, recipe.data, run.seed)["validation"]
    labels = prepared.label_indices
    count = most // (1 + len(selection_images.CHANGES))
    chosen = rows[sampling.by_class_in_turn(labels[rows], count, run.seed)]
    return selection_images.with_changed_copies(prepared.images()[chosen], labels[chosen])


def write_selection_set(folder: RunFolder, recipe: Recipe, run: TrainedRun, prepared: cache.Prepared) -> None:
    """Write the images and labels that quantization repairs are chosen by."""
    images, labels = selection_set(recipe, run, prepared, selection_images.MAX_IMAGES)
    selection_images.save(folder.path / HELD_OUT, images, labels)
