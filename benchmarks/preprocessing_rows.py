"""Rows about photos: preprocessing them once, and what decoding them in every epoch costs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from benchmarks.measure import Measurement, Row, alternate, measurement_from_json, time_call
from benchmarks.processes import ProcessResult, Timing, baseline_command, run_process, worker_command
from benchmarks.workspace import SIZE, Workspace


def preprocess(workspace: Workspace) -> Measurement:
    """Alternate five times in one process; each time tledge fills a new cache."""
    command = worker_command("prepare", workspace.photos, workspace.repeats(5))
    value = run_process(command, workspace.env).value()
    facts = {name: value[name] for name in ("images", "images a second and core")}
    same = {"same pixels as bare Pillow": value["same"]}
    return measurement_from_json(value, conditions=same, facts=facts)


def epochs(workspace: Workspace) -> Measurement:
    """Alternate between processes of both sides; the clock starts after imports."""
    images: list[int] = []

    def plain() -> Timing:
        command = baseline_command("decode.py", workspace.photos, "--epochs", workspace.epochs)
        return noted(run_process(command, workspace.env))

    def ours() -> Timing:
        command = worker_command("epochs", workspace.recipe("epochs"))
        with tempfile.TemporaryDirectory(dir=workspace.work) as cache:
            return noted(run_process(command, {**workspace.env, "TLEDGE_CACHE": cache}))

    def noted(ended: ProcessResult) -> Timing:
        value = ended.value()
        images.append(value["images"])
        return Timing(value["seconds"], value["cpu"])

    baseline, tledge = alternate(plain, ours, workspace.repeats(3))
    return Measurement(
        baseline, tledge, {"as many images on both sides": len(set(images)) == 1}, {"images": images[0]}
    )


ROWS = (
    Row(
        "prepare", "preprocessing",
        f"decode every photo and resize it to {SIZE} px, on all cores; tledge also hashes and writes them",
        "pillow_decode.py: open, convert, resize in a thread pool, kept in memory",
        0.9, preprocess,
    ),
    Row(
        "decode-epochs", "preprocessing",
        "train and validation batches of 10 epochs, test once, from JPEG files to the last batch",
        "decode.py: image_dataset_from_directory, decoding in every epoch",
        1.0, epochs,
    ),
)  # fmt: skip


def time_preprocessing(photos: str, repeats: str) -> None:
    """Alternate between bare Pillow and `prepare_dataset`, and print the times."""
    import numpy as np

    from benchmarks.baselines.pillow_decode import decode
    from tledge.config import Data
    from tledge.data import prepare

    results = {}

    def bare() -> None:
        results["bare"] = decode(Path(photos))

    def ours() -> None:
        results["tledge"] = prepare.prepare_dataset(Data(source=f"folder:{photos}"), SIZE)

    with tempfile.TemporaryDirectory() as scratch:

        def fresh() -> object:
            os.environ["TLEDGE_CACHE"] = tempfile.mkdtemp(dir=scratch)
            return time_call(ours)

        baseline, tledge = alternate(lambda: time_call(bare), fresh, int(repeats))
        images = results["tledge"].images()
        order = np.argsort([row.id for row in results["tledge"].rows])
        same = bool(np.array_equal(images[order], results["bare"]))
    rates = {}
    for name, side in (("baseline", baseline), ("tledge", tledge)):
        middle = sorted(timing.seconds for timing in side)[len(side) // 2]
        rates[name] = round(len(images) / middle / (os.cpu_count() or 1))
    print(
        json.dumps(
            {
                "baseline": [astuple(timing) for timing in baseline],
                "tledge": [astuple(timing) for timing in tledge],
                "images": len(images),
                "images a second and core": rates,
                "same": same,
            }
        )
    )


def time_epoch_batches(recipe_path: str) -> None:
    """Preprocess once, then time every batch of every epoch as training and validation take them."""
    import numpy as np

    from tledge._process import optional_imports
    from tledge.data import prepare, splits
    from tledge.recipe import loader
    from tledge.training import batches

    optional_imports.load("keras", "train")
    loaded = loader.load(Path(recipe_path))
    stage = loaded.stage[0]

    def work() -> int:
        prepared = prepare.prepare_dataset(loaded.data, SIZE)
        rows = splits.split(prepared, loaded.data, loaded.meta.seed)
        one_hot = np.eye(len(prepared.labels), dtype=np.float32)[prepared.label_indices]
        parts = {name: batches.Examples(prepared.images(), one_hot, part) for name, part in rows.items()}
        order = ["train", "validation"] * stage.epochs + ["test"]
        return sum(
            len(labels)
            for epoch, name in enumerate(order)
            for _, labels in _each(batches.batches(parts[name], stage, 0, epoch, train=name == "train"))
        )

    images: list[int] = []
    timing = time_call(lambda: images.append(work()))
    print(json.dumps({"seconds": timing.seconds, "cpu": timing.cpu, "images": images[0]}))


def _each(data: Any) -> Iterator[Any]:
    return (data[number] for number in range(len(data)))
