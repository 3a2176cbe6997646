"""The export stage: convert a run's Keras model into artifacts, in processes of their own.

TFLite modes share a float graph, so one process makes them all; the other formats are made beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tledge import dataset, held_out, progress, runs, splits
from tledge.converter import Conversion, Converter
from tledge.errors import DataError
from tledge.formats import VARIANTS
from tledge.formats.base import Job
from tledge.recipe import Recipe
from tledge.runs import UNCORRECTED, Artifact, RunFolder, TrainedRun

HELD_OUT = "evidence/held_out.npz"
"""Where in a run the images lie that remedies are chosen by."""

LONE = "tflite"
"""The format whose modes get a process to themselves."""


def export(
    folder: RunFolder,
    recipe: Recipe,
    variants: Sequence[str],
    watch: progress.Progress = progress.SILENT,
) -> list[Artifact]:
    """Make `variants` of the run's model; gives one Artifact each, in the order of the table.

    Raises ConversionError where a converter fails, crashes or takes too long (its log is kept in
    `logs/`), DataError for a calibration set that cannot serve. Artifacts made before stay.
    """
    run = folder.read_run()
    calibration = _calibration(folder, recipe, run, variants, watch)
    if recipe.export.int8.repair and "tflite-int8" in variants and not _student(folder, "tflite-int8"):
        _write_held_out(folder, recipe, run, watch)
    wanted = [name for name in VARIANTS if name in variants]
    made: dict[str, Artifact] = {}

    def make(converter: Converter, name: str) -> None:
        artifact = _one(converter, folder, recipe, run, name, calibration)
        runs.write_json(folder.artifacts / f"{name}.json", artifact)
        watch.say(f"{name:16} {artifact.bytes / 1024:8.0f} KiB  {artifact.seconds:5.1f} s")
        task.advance(1)
        made[name] = artifact

    with progress.task(watch, "export", len(wanted)) as task:
        _side_by_side([lane for lane in _lanes(wanted) if lane], make)
    return [made[name] for name in wanted]


def _lanes(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """What each of two processes makes, in order."""
    alone = [name for name in wanted if name.startswith(LONE)]
    return alone, [name for name in wanted if name not in alone]


def _side_by_side(lanes: Sequence[Sequence[str]], make: Callable[[Converter, str], None]) -> None:
    """Work off all lanes at once; after a failure in one, the others end with what they have in hand."""
    failed = threading.Event()

    def work(lane: Sequence[str]) -> None:
        try:
            with Converter() as converter:
                for name in lane:
                    if not failed.is_set():
                        make(converter, name)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        for done in [pool.submit(work, lane) for lane in lanes]:
            done.result()


def _one(
    converter: Converter,
    folder: RunFolder,
    recipe: Recipe,
    run: TrainedRun,
    name: str,
    calibration: Path | None,
) -> Artifact:
    variant = VARIANTS[name]
    started = time.monotonic()
    out = folder.artifacts / variant.filename
    student = _student(folder, name)
    correct = variant.mode.calibrated and recipe.export.int8.bias_correction and not student
    repair = name == "tflite-int8" and recipe.export.int8.repair and not student
    uncorrected = folder.path / "evidence" / f"{name}-uncorrected{variant.format.suffix}"
    uncorrected.parent.mkdir(exist_ok=True)
    job = Job(
        model=str((student or folder.model).resolve()),
        out=str(out.resolve()),
        mode=variant.mode_name,
        name=run.name,
        version=run.version,
        description=run.description or f"Image classifier {run.name}",
        labels=run.labels,
        calibration=str(calibration.resolve()) if calibration and variant.mode.calibrated else None,
        bias_correction=correct,
        # The converter's own result, so that the report can show both.
        uncorrected=str(uncorrected.resolve()) if correct or repair else None,
        held_out=str((folder.path / HELD_OUT).resolve()) if repair else None,
        limits=asdict(recipe.parity) if repair else {},
        ranges=str(folder.student_ranges.resolve()) if student else None,
    )
    details = converter.convert(Conversion(name, job, folder.logs / f"{name}.log", recipe.export.timeout))
    if correct or repair:
        details[UNCORRECTED] = uncorrected.relative_to(folder.path).as_posix()
    if student and recipe.export.int8.repair:
        details["repair"] = "none: the network was trained in 8 bits"
    return Artifact(
        variant=name,
        path=out.relative_to(folder.path).as_posix(),
        sha256=runs.sha256(out),
        bytes=runs.size_of(out),
        seconds=round(time.monotonic() - started, 1),
        details=details,
    )


def _student(folder: RunFolder, name: str) -> Path | None:
    """The quantize-aware network where the run has one and a variant is made of it."""
    return folder.student if name == "tflite-int8" and folder.student.is_file() else None


def _calibration(
    folder: RunFolder,
    recipe: Recipe,
    run: TrainedRun,
    variants: Sequence[str],
    watch: progress.Progress,
) -> Path | None:
    """Write the calibration images where a variant wants them: train photos, classes in turn."""
    if not any(VARIANTS[name].mode.calibrated and not _student(folder, name) for name in variants):
        return None
    import numpy as np

    count = recipe.export.calibration.images
    if count < 1:
        raise DataError(
            "[export.calibration] images = 0: the calibration set is empty. An int8 model needs "
            "at least one image, 100 to 500 are usual."
        )
    prepared = _photos(recipe, run, watch)
    rows = splits.split(prepared, recipe.data, run.seed)["train"]
    chosen = dataset.by_class_in_turn(prepared.label_indices()[rows], count, run.seed)
    path = folder.path / "evidence" / "calibration.npy"
    with runs.replacing(path) as made:
        np.save(made, prepared.images()[rows[chosen]])
    return path


def _photos(recipe: Recipe, run: TrainedRun, watch: progress.Progress) -> dataset.Prepared:
    """The prepared photos that the run was trained on."""
    cached = Path(run.cache)
    # A run that was trained on another machine knows the cache by the same name, elsewhere.
    here = [
        folder for folder in (cached, dataset.cache_root() / cached.name) if (folder / "index.json").is_file()
    ]
    if here:
        prepared = dataset.open_cache(here[0])
    else:
        prepared = dataset.prepare(recipe.data, recipe.model.image_size, watch)
        if prepared.folder.name != cached.name:
            raise DataError(
                f"{cached}: the prepared photos of this run are gone, and the source has other photos "
                "now. Calibration would see photos that training did not. Train again."
            )
    return prepared


def _write_held_out(folder: RunFolder, recipe: Recipe, run: TrainedRun, watch: progress.Progress) -> None:
    """Validation photos and changed copies of them, to choose remedies by."""
    prepared = _photos(recipe, run, watch)
    rows = splits.split(prepared, recipe.data, run.seed)["validation"]
    most = held_out.MOST // (1 + len(held_out.CHANGES))
    chosen = rows[dataset.by_class_in_turn(prepared.label_indices()[rows], most, run.seed)]
    images, labels = held_out.varied(prepared.images()[chosen], prepared.label_indices()[chosen])
    held_out.save(folder.path / HELD_OUT, images, labels)
