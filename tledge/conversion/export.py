"""The export stage: convert a run's Keras model into artifacts, in processes of their own.

TFLite modes share a float graph, so one process makes all of them; a second one makes the other formats.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tledge._io import files
from tledge._process import processors
from tledge.config import Parity
from tledge.conversion import calibration_data, independent_images, kept_artifacts
from tledge.conversion.calibration_data import WrittenCalibration
from tledge.conversion.worker_client import Conversion, Converter
from tledge.environment import packages
from tledge.formats.jobs import (
    CalibratedJob,
    ConversionJob,
    ConversionTarget,
    MixedPrecisionJob,
    QuantizationAwareJob,
    RepairJob,
    UncalibratedJob,
)
from tledge.formats.registry import VARIANTS
from tledge.progress import SILENT, Progress, start_task
from tledge.recipe.definition import Recipe
from tledge.run import folder as run_folder
from tledge.run.folder import UNCORRECTED, RunFolder
from tledge.run.records import Artifact, TrainedRun
from tledge.visualization import text_format

INT8, MIXED = "tflite-int8", "tflite-mixed"

TFLITE = "tflite"
"""The format whose modes get a process to themselves."""


@dataclass(frozen=True)
class ExportInputs:
    """What all conversions of an export share; `calibration` is None where no variant is calibrated."""

    folder: RunFolder
    recipe: Recipe
    run: TrainedRun
    calibration: WrittenCalibration | None = None


@run_folder.alone
def export(
    folder: RunFolder,
    recipe: Recipe,
    variants: Sequence[str],
    progress: Progress = SILENT,
    *,
    force: bool = False,
) -> list[Artifact]:
    """Convert the run's model into `variants`; other artifacts made before stay.

    An artifact that was made from the same inputs by the same versions, and is intact, is kept.

    Args:
        folder: folder of a finished run.
        recipe: recipe of the run, with the `[export]` and `[parity]` tables that apply.
        variants: names of `VARIANTS` to make.
        progress: shows what is being made.
        force: convert anew also what could be kept.

    Returns:
        An artifact for each variant, with its hash, in the order of `VARIANTS`.

    Raises:
        ConversionError: a converter failed, crashed or took too long; its log is kept in `logs/`.
        DataError: the calibration images cannot serve.
    """
    wanted = [name for name in VARIANTS if name in variants]
    inputs = _export_inputs(folder, recipe, wanted, progress)
    (folder.path / "evidence").mkdir(exist_ok=True)
    artifacts = {} if force else _kept(inputs, wanted, progress)
    missing = [name for name in wanted if name not in artifacts]

    running: list[str] = []

    def convert(converter: Converter, name: str) -> None:
        running.append(name)
        task.advance(0, **_now(running))
        artifact = _convert_variant(converter, inputs, name)
        running.remove(name)
        files.write_json(folder.artifacts / f"{artifact.variant}.json", artifact)
        progress.say(
            f"{artifact.variant:16} {text_format.size(artifact.bytes):>12}  {artifact.seconds:5.1f} s"
        )
        task.advance(1, **_now(running))
        artifacts[name] = artifact

    request = independent_images.request(folder, recipe, inputs.run, wanted, progress)
    if missing:
        progress.say(f"Converting {folder.path} into {', '.join(missing)}")
    with start_task(progress, "convert", len(missing)) as task:
        queues, work = _with_predictions(_queues_of_processes(missing), convert, request, inputs)
        _convert_in_parallel(queues, work, recipe.export.memory_mib)
    in_order = [artifacts[name] for name in wanted]
    if inputs.calibration:
        calibration_data.note_stability(folder, inputs.calibration.record, in_order, progress)
    return in_order


def _now(running: Sequence[str]) -> dict[str, str]:
    """Return the figure that names the variants at work, one in each process."""
    return {"now": " and ".join(running)} if running else {}


Work = Callable[[Converter, str], None]
"""Do in a converter's process what a name in its queue stands for."""


def _with_predictions(
    queues: list[list[str]],
    convert: Work,
    request: independent_images.Request | None,
    inputs: ExportInputs,
) -> tuple[list[list[str]], Work]:
    """Add Keras' predictions for independent images to the first queue: the model is open in its process."""
    if request is None:
        return queues, convert

    def work(converter: Converter, name: str) -> None:
        if name == independent_images.JOB:
            timeout = inputs.recipe.export.timeout
            independent_images.predict(converter, inputs.folder, request, timeout)
        else:
            convert(converter, name)

    first = queues[0] if queues else []
    return [[*first, independent_images.JOB], *queues[1:]], work


def _kept(inputs: ExportInputs, wanted: Sequence[str], progress: Progress) -> dict[str, Artifact]:
    """Return the artifacts that need no conversion, by the variant that was asked for, and name them."""
    kept: dict[str, Artifact] = {}
    for name in wanted:
        made_from = kept_artifacts.inputs_of(inputs.folder, name, conversion_job(inputs, name))
        if artifact := kept_artifacts.find(inputs.folder, made_from):
            kept[name] = artifact
    if kept:
        names = ", ".join(artifact.variant for artifact in kept.values())
        progress.say(f"kept, nothing changed: {names} (convert anew with --force)")
    return kept


def _export_inputs(
    folder: RunFolder, recipe: Recipe, wanted: Sequence[str], progress: Progress
) -> ExportInputs:
    """Write the images that these variants need, and return what their conversions share."""
    run = folder.read_run()
    from_model = [name for name in wanted if not _quantization_aware_model(folder, name)]
    if not any(VARIANTS[name].mode.calibrated for name in from_model):
        return ExportInputs(folder, recipe, run)
    prepared = calibration_data.open_photos(recipe, run, progress)
    calibration = calibration_data.write_calibration_images(folder, recipe, run, prepared, progress)
    if any(_is_chosen_by_trial(name, recipe) for name in from_model):
        calibration_data.write_selection_set(folder, recipe, run, prepared)
    return ExportInputs(folder, recipe, run, calibration)


def _is_chosen_by_trial(name: str, recipe: Recipe) -> bool:
    """Tell whether validation images decide how a variant is made."""
    return name == MIXED or (name == INT8 and recipe.export.int8.repair)


def _quantization_aware_model(folder: RunFolder, name: str) -> Path | None:
    """Return the quantization-aware model where the run has one and this variant is made of it."""
    return folder.student if name == INT8 and folder.student.is_file() else None


def _queues_of_processes(wanted: Sequence[str]) -> list[list[str]]:
    """Return what each process converts, in order: TFLite modes, and all else.

    One process converts all where there is one processor: a second one loads TensorFlow and the model
    again, which is a third of the work on small networks and wins nothing.
    """
    is_alone = processors.usable() == 1
    first = [name for name in wanted if is_alone or name.startswith(TFLITE)]
    others = [name for name in wanted if name not in first]
    return [queue for queue in (first, others) if queue]


def _convert_in_parallel(
    queues: Sequence[Sequence[str]], convert: Callable[[Converter, str], None], memory_mib: int
) -> None:
    """Work off all queues at once, each in its own process.

    After a failure in one queue, the others finish the conversion that they are at. After an interrupt
    all processes are killed.
    """
    failed = threading.Event()

    def work_off(converter: Converter, queue: Sequence[str]) -> None:
        try:
            with converter:
                for name in queue:
                    if not failed.is_set():
                        convert(converter, name)
        except BaseException:
            failed.set()
            raise

    converters = [Converter(memory_mib) for _queue in queues]
    with ThreadPoolExecutor(max(1, len(queues))) as pool:
        try:
            pairs = zip(converters, queues, strict=True)
            for future in [pool.submit(work_off, converter, queue) for converter, queue in pairs]:
                future.result()
        except KeyboardInterrupt:
            for converter in converters:
                converter.kill()
            raise


def _convert_variant(converter: Converter, inputs: ExportInputs, name: str) -> Artifact:
    """Convert one variant, and return the artifact, which a repair may have made of another mode."""
    started = time.monotonic()
    folder, recipe = inputs.folder, inputs.recipe
    job = conversion_job(inputs, name)
    written = converter.convert(Conversion(name, job, folder.logs / f"{name}.log", recipe.export.timeout))
    asked = name
    if written.mode != job.target.mode:
        name = _rename_to_variant_of(folder, name, written.mode)
    path = folder.artifacts / VARIANTS[name].filename
    return Artifact(
        variant=name,
        path=path.relative_to(folder.path).as_posix(),
        sha256=folder.sha256(path),
        bytes=files.size_of(path),
        seconds=round(time.monotonic() - started, 1),
        details={**written.details, **_details_of_job(job, inputs)},
        made_with=packages.made_with(),
        inputs=kept_artifacts.inputs_of(folder, asked, job),
    )


def _details_of_job(job: ConversionJob, inputs: ExportInputs) -> dict[str, Any]:
    """Return what an artifact's details hold beside what its converter reports."""
    if isinstance(job, CalibratedJob | RepairJob) and job.uncorrected:
        name = Path(job.uncorrected).relative_to(inputs.folder.path.resolve()).as_posix()
        path = inputs.folder.path / name
        digest = {kept_artifacts.UNCORRECTED_SHA256: inputs.folder.sha256(path)} if path.exists() else {}
        return {UNCORRECTED: name, **digest}
    if isinstance(job, QuantizationAwareJob) and inputs.recipe.export.int8.repair:
        return {"repair": "none: the model was trained quantization-aware"}
    return {}


def conversion_job(inputs: ExportInputs, name: str) -> ConversionJob:
    """Return the job that makes one variant."""
    folder, settings, variant = inputs.folder, inputs.recipe.export.int8, VARIANTS[name]
    if trained_model := _quantization_aware_model(folder, name):
        return QuantizationAwareJob(
            _conversion_target(inputs, name, trained_model), str(folder.student_ranges.resolve())
        )
    target = _conversion_target(inputs, name, folder.model)
    if not variant.mode.calibrated:
        return UncalibratedJob(target)
    assert inputs.calibration is not None, f"{name} is calibrated"
    calibration = str(inputs.calibration.path.resolve())
    # The conversion without bias correction is kept, so that the report can compare both.
    uncorrected = str((folder.path / "evidence" / f"{name}-uncorrected{variant.format.suffix}").resolve())
    if not _is_chosen_by_trial(name, inputs.recipe):
        kept = uncorrected if settings.bias_correction else None
        return CalibratedJob(target, calibration, settings.bias_correction, kept)
    selection, limits = str((folder.path / calibration_data.HELD_OUT).resolve()), _gates(inputs.recipe.parity)
    if name == MIXED:
        return MixedPrecisionJob(target, calibration, selection, limits)
    return RepairJob(target, calibration, selection, limits, settings.integer_only, uncorrected)


def _gates(limits: Parity) -> Parity:
    """Return the gates alone: what is bundled, and on which photos, changes no candidate."""
    return replace(limits, extra="", strict=False)


def _conversion_target(inputs: ExportInputs, name: str, model: Path) -> ConversionTarget:
    run, variant = inputs.run, VARIANTS[name]
    return ConversionTarget(
        model=str(model.resolve()),
        out=str((inputs.folder.artifacts / variant.filename).resolve()),
        mode=variant.mode_name,
        name=run.name,
        version=inputs.recipe.meta.version,  # without the training's hash
        description=run.description or f"Image classifier {run.name}",
        labels=run.labels,
        pixel_range=run.input.pixel_range,
    )


def _rename_to_variant_of(folder: RunFolder, name: str, mode: str) -> str:
    """Rename a converted file to the variant of the mode that was actually produced; return that variant."""
    produced = f"{TFLITE}-{mode}"
    (folder.artifacts / f"{name}.json").unlink(missing_ok=True)
    os.replace(folder.artifacts / VARIANTS[name].filename, folder.artifacts / VARIANTS[produced].filename)
    return produced
