"""Rows about what follows training: export, and the verification of what was exported."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path

from benchmarks.measure import Measurement, Row, alternate, measurement_from_json, time_call
from benchmarks.processes import baseline_command, run_process, worker_command
from benchmarks.workspace import VARIANTS_WITHOUT_TENSORFLOW, Workspace, without_artifacts

SECONDS, KERAS = 16.0, 47.0
"""What the six variants may take on the machine of the first measurements, and what Keras takes there."""

PEAK_MIB = 1536.0
"""MiB that no process of an export may exceed."""

ALL_VARIANTS = ("saved_model", *VARIANTS_WITHOUT_TENSORFLOW)


def export(workspace: Workspace) -> Measurement:
    """Compare whole processes, imports and reading the model included; tledge also corrects int8's biases."""
    model = workspace.run / "model.keras"
    plain = baseline_command("export.py", model, workspace.photos, workspace.work / "exported")
    copy = without_artifacts(workspace.run, workspace.work / "runs" / "export")
    baseline = run_process(plain, workspace.env)
    ours = run_process(worker_command("export", copy), workspace.env)
    conditions = {f"no process above {PEAK_MIB:.0f} MiB": ours.peak_mib <= PEAK_MIB}
    facts = {
        "largest process, MiB": {"baseline": round(baseline.peak_mib), "tledge": round(ours.peak_mib)},
        "bytes": {"baseline": baseline.value(), "tledge": ours.value()["bytes"]},
        "seconds a variant": ours.value()["seconds"],
    }
    return Measurement((baseline.timing,), (ours.timing,), conditions, facts)


def verify(workspace: Workspace) -> Measurement:
    """Alternate five times in one process, where everything is imported."""
    command = worker_command("verify", workspace.exported, workspace.repeats(5))
    value = run_process(command, workspace.env).value()
    return measurement_from_json(
        value, facts={name: value[name] for name in ("images", "seconds an artifact", "verdicts")}
    )


def adopt(workspace: Workspace) -> Measurement:
    """Compare whole processes: tledge also prepares the photos, judges the model and writes the run."""
    model, out = workspace.run / "model.keras", workspace.work / "runs" / "adopted"
    own_cache = {**workspace.env, "TLEDGE_CACHE": str(workspace.work / "adopt-cache")}
    baseline = run_process(baseline_command("adopt.py", model, workspace.photos), workspace.env)
    arguments = ["adopt", model, "--photos", workspace.photos, "--out", out, "--force", "--quiet"]
    ours = run_process([sys.executable, "-m", "tledge", *map(str, arguments)], own_cache)
    return Measurement((baseline.timing,), (ours.timing,))


ROWS = (
    Row(
        "adopt", "export",
        "a model adopted with the photos of all splits, as whole processes; nothing is prepared before",
        "adopt.py: load_model, image_dataset_from_directory and predict on the same photos",
        round(1 / 1.5, 2), adopt, "photos are prepared once",
    ),
    Row(
        "export", "export",
        "SavedModel, ONNX and four TFLite variants of one model, as whole processes",
        "export.py: model.export and TFLiteConverter.from_keras_model, one after the other",
        round(KERAS / SECONDS, 1), export, "the converters take most of a minute",
    ),
    Row(
        "verify", "export",
        "five artifacts and int8 without correction, on the test photos; tledge also judges them",
        "verify.py: bare LiteRT and ONNX Runtime in one loop a core, images divided over the cores",
        0.8, verify,
    ),
)  # fmt: skip


def time_export(run: str) -> None:
    """Run the export stage through its public function, and print the times."""
    from tledge.conversion.export import export as export_run
    from tledge.recipe import loader
    from tledge.run.folder import RunFolder

    folder = RunFolder(Path(run))
    artifacts = export_run(folder, loader.load(folder.recipe), ALL_VARIANTS, force=True)
    seconds = {artifact.variant: artifact.seconds for artifact in artifacts}
    print(
        json.dumps(
            {"seconds": seconds, "bytes": {artifact.variant: artifact.bytes for artifact in artifacts}}
        )
    )


def time_verification(run: str, repeats: str) -> None:
    """Alternate between bare runtimes, images divided over the cores, and `verify_run`."""
    import numpy as np

    from benchmarks.baselines.verify import opened
    from benchmarks.processes import Timing
    from tledge.recipe import loader
    from tledge.run import golden_set
    from tledge.run.folder import UNCORRECTED, RunFolder
    from tledge.verification.verify import verify_run

    folder, cores = RunFolder(Path(run)), os.cpu_count() or 1
    images, limits = golden_set.load(folder.golden).images, loader.load(folder.recipe).parity
    artifacts = folder.read_artifacts()
    assert {artifact.variant for artifact in artifacts} == set(VARIANTS_WITHOUT_TENSORFLOW), (
        "verified is what both sides run, no more"
    )
    files = {artifact.variant: artifact.path for artifact in artifacts}
    files |= {
        f"{artifact.variant} uncorrected": artifact.details[UNCORRECTED]
        for artifact in artifacts
        if UNCORRECTED in artifact.details
    }
    bare = {name: [opened(folder.path / path) for _ in range(cores)] for name, path in files.items()}
    shares = np.array_split(images, cores)
    timings: dict[str, Timing] = {}

    def plain() -> Timing:
        with ThreadPoolExecutor(cores) as pool:
            for name, loops in bare.items():
                work = list(zip(loops, shares, strict=True))
                timings[name] = time_call(
                    lambda work=work: list(pool.map(lambda pair: pair[0](pair[1]), work))
                )
        return Timing(
            sum(timing.seconds for timing in timings.values()), sum(timing.cpu for timing in timings.values())
        )

    reports = []
    baseline, tledge = alternate(
        plain, lambda: time_call(lambda: reports.append(verify_run(folder, limits))), int(repeats)
    )
    print(
        json.dumps(
            {
                "baseline": [astuple(timing) for timing in baseline],
                "tledge": [astuple(timing) for timing in tledge],
                "images": len(images),
                "seconds an artifact": {name: round(timing.seconds, 3) for name, timing in timings.items()},
                "verdicts": {row.variant: row.verdict for row in reports[-1].rows},
            }
        )
    )
