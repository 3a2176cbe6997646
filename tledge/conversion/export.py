"""The export stage: convert a run's Keras model into artifacts, in processes of their own.

TFLite modes share a float graph, so one process makes them all; the other formats are made beside it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tledge._io import files
from tledge.conversion import calibration_data
from tledge.conversion.worker_client import Conversion, Converter
from tledge.environment import packages
from tledge.formats.base import MODE, ConversionJob
from tledge.formats.registry import VARIANTS
from tledge.progress import SILENT, Progress, start_task
from tledge.recipe.definition import Recipe
from tledge.run import folder as run_folder
from tledge.run.folder import UNCORRECTED, RunFolder
from tledge.run.records import Artifact, TrainedRun

INT8, MIXED = "tflite-int8", "tflite-mixed"

LONE = "tflite"
"""The format whose modes get a process to themselves."""


@run_folder.alone
def export(
    folder: RunFolder,
    recipe: Recipe,
    variants: Sequence[str],
    progress: Progress = SILENT,
) -> list[Artifact]:
    """Make `variants` of the run's model; gives one Artifact each, in the order of the table.

    Raises ConversionError where a converter fails, crashes or takes too long (its log is kept in
    `logs/`), DataError for a calibration set that cannot serve. Artifacts made before stay.
    """
    run = folder.read_run()
    plain = [name for name in variants if not _student(folder, name)]
    calibrated = any(VARIANTS[name].mode.calibrated for name in plain)
    calibration = calibration_data.calibration(folder, recipe, run, progress) if calibrated else None
    if any(_is_repaired(name, recipe) for name in plain):
        calibration_data.write_held_out(folder, recipe, run, progress)
    wanted = [name for name in VARIANTS if name in variants]
    made: dict[str, Artifact] = {}

    def make(converter: Converter, name: str) -> None:
        artifact = _one(converter, folder, recipe, run, name, calibration)
        files.write_json(folder.artifacts / f"{artifact.variant}.json", artifact)
        progress.say(f"{artifact.variant:16} {artifact.bytes / 1024:8.0f} KiB  {artifact.seconds:5.1f} s")
        task.advance(1)
        made[name] = artifact

    with start_task(progress, "export", len(wanted)) as task:
        _side_by_side([lane for lane in _lanes(wanted) if lane], make, recipe.export.memory_mib)
    done = [made[name] for name in wanted]
    calibration_data.note_stability(folder, done, progress)
    return done


def _is_repaired(name: str, recipe: Recipe) -> bool:
    """Whether held-out images decide how a variant is made."""
    return name == MIXED or (name == INT8 and recipe.export.int8.repair)


def _lanes(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """What each of two processes makes, in order."""
    alone = [name for name in wanted if name.startswith(LONE)]
    return alone, [name for name in wanted if name not in alone]


def _side_by_side(
    lanes: Sequence[Sequence[str]], make: Callable[[Converter, str], None], memory_mib: int
) -> None:
    """Work off all lanes at once; after a failure in one, the others end with what they have in hand.

    An interrupt waits for none of them.
    """
    failed = threading.Event()

    def work(converter: Converter, lane: Sequence[str]) -> None:
        try:
            with converter:
                for name in lane:
                    if not failed.is_set():
                        make(converter, name)
        except BaseException:
            failed.set()
            raise

    converters = [Converter(memory_mib) for _lane in lanes]
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        try:
            for done in [pool.submit(work, *one) for one in zip(converters, lanes, strict=True)]:
                done.result()
        except KeyboardInterrupt:
            for converter in converters:
                converter.kill()
            raise


def _one(
    converter: Converter,
    folder: RunFolder,
    recipe: Recipe,
    run: TrainedRun,
    name: str,
    calibration: Path | None,
) -> Artifact:
    started = time.monotonic()
    job = _job(folder, recipe, run, name, calibration)
    details = converter.convert(Conversion(name, job, folder.logs / f"{name}.log", recipe.export.timeout))
    name = _filed(folder, name, details)
    out = folder.artifacts / VARIANTS[name].filename
    if job.uncorrected:
        details[UNCORRECTED] = Path(job.uncorrected).relative_to(folder.path.resolve()).as_posix()
    if job.ranges and recipe.export.int8.repair:
        details["repair"] = "none: the network was trained in 8 bits"
    return Artifact(
        variant=name,
        path=out.relative_to(folder.path).as_posix(),
        sha256=folder.sha256(out),
        bytes=files.size_of(out),
        seconds=round(time.monotonic() - started, 1),
        details=details,
        made_with=packages.made_with(),
    )


def _job(
    folder: RunFolder, recipe: Recipe, run: TrainedRun, name: str, calibration: Path | None
) -> ConversionJob:
    variant, student = VARIANTS[name], _student(folder, name)
    repair = _is_repaired(name, recipe) and not student
    correct = variant.mode.calibrated and recipe.export.int8.bias_correction and name != MIXED and not student
    uncorrected = folder.path / "evidence" / f"{name}-uncorrected{variant.format.suffix}"
    uncorrected.parent.mkdir(exist_ok=True)
    return ConversionJob(
        model=str((student or folder.model).resolve()),
        out=str((folder.artifacts / variant.filename).resolve()),
        mode=variant.mode_name,
        name=run.name,
        version=run.version,
        description=run.description or f"Image classifier {run.name}",
        labels=run.labels,
        calibration=str(calibration.resolve()) if calibration and variant.mode.calibrated else None,
        bias_correction=correct,
        # The converter's own result, so that the report can show both.
        uncorrected=str(uncorrected.resolve()) if correct or (repair and name == INT8) else None,
        held_out=str((folder.path / calibration_data.HELD_OUT).resolve()) if repair else None,
        limits=asdict(recipe.parity) if repair else {},
        integer_only=recipe.export.int8.integer_only,
        ranges=str(folder.student_ranges.resolve()) if student else None,
    )


def _filed(folder: RunFolder, name: str, details: dict[str, Any]) -> str:
    """Give a conversion's file the name of the variant that it turned out to be, and tell that."""
    if MODE not in details:
        return name
    found = f"{LONE}-{details[MODE]}"
    if found != name:
        (folder.artifacts / f"{name}.json").unlink(missing_ok=True)
        os.replace(folder.artifacts / VARIANTS[name].filename, folder.artifacts / VARIANTS[found].filename)
    return found


def _student(folder: RunFolder, name: str) -> Path | None:
    """The quantize-aware network where the run has one and a variant is made of it."""
    return folder.student if name == INT8 and folder.student.is_file() else None
