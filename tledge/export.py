"""The export stage: convert a run's Keras model into artifacts, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tledge import dataset, errors, progress, runs, splits
from tledge.errors import ConversionError, DataError, TledgeError
from tledge.formats import VARIANTS
from tledge.formats.base import Job
from tledge.recipe import Recipe
from tledge.runs import UNCORRECTED, Artifact, RunFolder, TrainedRun


@dataclass(frozen=True)
class _Conversion:
    variant: str
    job: Job
    log: Path
    timeout: int


def export(
    folder: RunFolder,
    recipe: Recipe,
    variants: Sequence[str],
    watch: progress.Progress = progress.SILENT,
) -> list[Artifact]:
    """Make `variants` of the run's model; gives one Artifact each, in the order of the table.

    Raises ConversionError where a converter fails, crashes or takes too long (its log is kept in
    `logs/`), DataError for a calibration set that cannot serve. Earlier artifacts stay.
    """
    run = folder.read_run()
    calibration = _calibration(folder, recipe, run, variants, watch)
    made = []
    wanted = [name for name in VARIANTS if name in variants]
    with progress.task(watch, "export", len(wanted)) as task:
        for name in wanted:
            artifact = _one(folder, recipe, run, name, calibration)
            runs.write_json(folder.artifacts / f"{name}.json", artifact)
            watch.say(f"{name:16} {artifact.bytes / 1024:8.0f} KiB  {artifact.seconds:5.1f} s")
            task.advance(1)
            made.append(artifact)
    return made


def _one(folder: RunFolder, recipe: Recipe, run: TrainedRun, name: str, calibration: Path | None) -> Artifact:
    variant = VARIANTS[name]
    started = time.monotonic()
    out = folder.artifacts / variant.filename
    correct = variant.mode.calibrated and recipe.export.int8.bias_correction
    job = Job(
        model=str(folder.model),
        out=str(out),
        mode=variant.mode_name,
        name=run.name,
        version=run.version,
        description=run.description or f"Image classifier {run.name}",
        labels=run.labels,
        calibration=str(calibration) if calibration and variant.mode.calibrated else None,
        bias_correction=correct,
    )
    details = _convert(_Conversion(name, job, folder.logs / f"{name}.log", recipe.export.timeout))
    if correct:
        details[UNCORRECTED] = _without_correction(folder, recipe, name, job)
    return Artifact(
        variant=name,
        path=out.relative_to(folder.path).as_posix(),
        sha256=runs.sha256(out),
        bytes=runs.size_of(out),
        seconds=round(time.monotonic() - started, 1),
        details=details,
    )


def _without_correction(folder: RunFolder, recipe: Recipe, name: str, job: Job) -> str:
    """The converter's own result, so that the report can show both; gives its path in the run."""
    out = folder.path / "evidence" / f"{name}-uncorrected.tflite"
    plain = replace(job, out=str(out), bias_correction=False)
    log = folder.logs / f"{name}-uncorrected.log"
    _convert(_Conversion(name, plain, log, recipe.export.timeout))
    return out.relative_to(folder.path).as_posix()


def _convert(conversion: _Conversion) -> dict[str, Any]:
    """Run one conversion in a subprocess, its output in a log; gives the format's details."""
    conversion.log.parent.mkdir(parents=True, exist_ok=True)
    Path(conversion.job.out).parent.mkdir(parents=True, exist_ok=True)
    job_path = conversion.log.with_suffix(".job.json")
    result_path = conversion.log.with_suffix(".result.json")
    result_path.unlink(missing_ok=True)
    runs.write_json(job_path, {"variant": conversion.variant, **asdict(conversion.job)})
    command = [sys.executable, "-m", "tledge.formats", str(job_path), str(result_path)]
    hidden = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with conversion.log.open("wb") as log:
        code = _run(command, log, {**os.environ, **hidden}, conversion)
    if result_path.is_file():
        result = json.loads(result_path.read_text(encoding="utf-8"))
        if "error" in result:
            kind: type[TledgeError] = getattr(errors, result["kind"], ConversionError)
            raise kind(f"{conversion.variant}: {result['error']} Log: {conversion.log}")
        if code == 0:
            details: dict[str, Any] = result["details"]
            return details
    raise ConversionError(_crash(conversion, code))


def _run(command: list[str], log: Any, env: dict[str, str], conversion: _Conversion) -> int:
    try:
        return subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env=env, check=False,
            stdin=subprocess.DEVNULL, timeout=conversion.timeout,
        ).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConversionError(
            f"{conversion.variant}: the conversion took more than {conversion.timeout} s and was "
            f"stopped. Raise [export] timeout, or read its log: {conversion.log}"
        ) from None


def _crash(conversion: _Conversion, code: int) -> str:
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    tail = conversion.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
    return f"{conversion.variant}: the converter crashed ({name}). Log: {conversion.log}, its end:\n" + (
        "\n".join(tail)
    )


def _is_cache(folder: Path) -> bool:
    return (folder / "index.json").is_file()


def _calibration(
    folder: RunFolder,
    recipe: Recipe,
    run: TrainedRun,
    variants: Sequence[str],
    watch: progress.Progress,
) -> Path | None:
    """Write the calibration images where a variant wants them: train photos, classes in turn."""
    if not any(VARIANTS[name].mode.calibrated for name in variants):
        return None
    import numpy as np

    count = recipe.export.calibration.images
    if count < 1:
        raise DataError(
            "[export.calibration] images = 0: the calibration set is empty. An int8 model needs "
            "at least one image, 100 to 500 are usual."
        )
    cached = Path(run.cache)
    # A run that was trained on another machine knows the cache by the same name, elsewhere.
    here = [folder for folder in (cached, dataset.cache_root() / cached.name) if _is_cache(folder)]
    if here:
        prepared = dataset.open_cache(here[0])
    else:
        prepared = dataset.prepare(recipe.data, recipe.model.image_size, watch)
        if prepared.folder.name != cached.name:
            raise DataError(
                f"{cached}: the prepared photos of this run are gone, and the source has other photos "
                "now. Calibration would see photos that training did not. Train again."
            )
    rows = splits.split(prepared, recipe.data, run.seed)["train"]
    chosen = dataset.by_class_in_turn(prepared.label_indices()[rows], count, run.seed)
    path = folder.path / "evidence" / "calibration.npy"
    with runs.replacing(path) as made:
        np.save(made, prepared.images()[rows[chosen]])
    return path
