"""Rows about what follows training: export, and the verification of what was exported."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path

from benchmarks.measure import Measured, Row, from_json, in_turns, timed
from benchmarks.processes import baseline_script, process, worker
from benchmarks.workspace import FIVE, Material, without_artifacts

SECONDS, KERAS = 16.0, 47.0
"""What the six variants may take on the machine of the first measurements, and what Keras takes there."""

PEAK = 1536.0
"""MiB that no process of an export may exceed."""

SIX = ("saved_model", *FIVE)


def export(material: Material) -> Measured:
    """Whole processes, imports and reading the model included; tledge also corrects int8's biases."""
    model = material.run / "model.keras"
    plain = baseline_script("export.py", model, material.photos, material.work / "exported")
    copy = without_artifacts(material.run, material.work / "runs" / "export")
    baseline = process(plain, material.env)
    ours = process(worker("export", copy), material.env)
    conditions = {f"no process above {PEAK:.0f} MiB": ours.peak_mib <= PEAK}
    facts = {
        "largest process, MiB": {"baseline": round(baseline.peak_mib), "tledge": round(ours.peak_mib)},
        "bytes": {"baseline": baseline.value(), "tledge": ours.value()["bytes"]},
        "seconds a variant": ours.value()["seconds"],
    }
    return Measured((baseline.timing,), (ours.timing,), conditions, facts)


def verify(material: Material) -> Measured:
    """Five times in turns in one process, where everything is imported."""
    command = worker("verify", material.exported, material.repeats(5))
    value = process(command, material.env).value()
    return from_json(
        value, facts={name: value[name] for name in ("images", "seconds an artifact", "verdicts")}
    )


ROWS = (
    Row(
        "export", "shipping",
        "SavedModel, ONNX and four TFLite variants of one model, as whole processes",
        "export.py: model.export and TFLiteConverter.from_keras_model, one after the other",
        round(KERAS / SECONDS, 1), export, "the converters take most of a minute",
    ),
    Row(
        "verify", "shipping",
        "five artifacts and int8 without correction, on the test photos; tledge also judges them",
        "verify.py: bare LiteRT and ONNX Runtime in one loop a core, images divided over the cores",
        0.8, verify,
    ),
)  # fmt: skip


def inside_export(run: str) -> None:
    """Inside a child: the export stage through its public function."""
    from tledge import recipe
    from tledge.exporting import export as export_run
    from tledge.runs import RunFolder

    folder = RunFolder(Path(run))
    made = export_run(folder, recipe.load(folder.recipe), SIX)
    seconds = {one.variant: one.seconds for one in made}
    print(json.dumps({"seconds": seconds, "bytes": {one.variant: one.bytes for one in made}}))


def inside_verify(run: str, repeats: str) -> None:
    """Inside a child: the bare runtimes, images divided over the cores, and `verify_run` in turns."""
    import numpy as np

    from benchmarks.baselines.verify import opened
    from benchmarks.processes import Timing
    from tledge import golden, recipe
    from tledge.runs import UNCORRECTED, RunFolder
    from tledge.verification import verify_run

    folder, cores = RunFolder(Path(run)), os.cpu_count() or 1
    images, limits = golden.load(folder.golden).images, recipe.load(folder.recipe).parity
    artifacts = folder.read_artifacts()
    assert {one.variant for one in artifacts} == set(FIVE), "verified is what both sides run, no more"
    files = {one.variant: one.path for one in artifacts}
    files |= {
        f"{one.variant} uncorrected": one.details[UNCORRECTED]
        for one in artifacts
        if UNCORRECTED in one.details
    }
    bare = {name: [opened(folder.path / path) for _ in range(cores)] for name, path in files.items()}
    shares = np.array_split(images, cores)
    each: dict[str, Timing] = {}

    def plain() -> Timing:
        with ThreadPoolExecutor(cores) as pool:
            for name, loops in bare.items():
                work = list(zip(loops, shares, strict=True))
                each[name] = timed(lambda work=work: list(pool.map(lambda one: one[0](one[1]), work)))
        return Timing(sum(one.seconds for one in each.values()), sum(one.cpu for one in each.values()))

    reports = []
    baseline, tledge = in_turns(
        plain, lambda: timed(lambda: reports.append(verify_run(folder, limits))), int(repeats)
    )
    print(
        json.dumps(
            {
                "baseline": [astuple(one) for one in baseline],
                "tledge": [astuple(one) for one in tledge],
                "images": len(images),
                "seconds an artifact": {name: round(one.seconds, 3) for name, one in each.items()},
                "verdicts": {row.variant: row.verdict for row in reports[-1].rows},
            }
        )
    )
