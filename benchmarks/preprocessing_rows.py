"""Rows about photos: preparing them once, and what decoding them in every epoch costs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from benchmarks.measure import Measured, Row, from_json, in_turns, timed
from benchmarks.processes import Ended, Timing, baseline_script, process, worker
from benchmarks.workspace import SIZE, Material


def prepare(material: Material) -> Measured:
    """Five times in turns in one process; each time tledge fills a new cache."""
    command = worker("prepare", material.photos, material.repeats(5))
    value = process(command, material.env).value()
    facts = {name: value[name] for name in ("images", "images a second and core")}
    same = {"same pixels as bare Pillow": value["same"]}
    return from_json(value, conditions=same, facts=facts)


def epochs(material: Material) -> Measured:
    """Both sides in processes of their own, in turns; the clock starts after imports."""
    images: list[int] = []

    def plain() -> Timing:
        command = baseline_script("decode.py", material.photos, "--epochs", material.epochs)
        return noted(process(command, material.env))

    def ours() -> Timing:
        command = worker("epochs", material.recipe("epochs"))
        with tempfile.TemporaryDirectory(dir=material.work) as cache:
            return noted(process(command, {**material.env, "TLEDGE_CACHE": cache}))

    def noted(ended: Ended) -> Timing:
        value = ended.value()
        images.append(value["images"])
        return Timing(value["seconds"], value["cpu"])

    baseline, tledge = in_turns(plain, ours, material.repeats(3))
    return Measured(
        baseline, tledge, {"as many images on both sides": len(set(images)) == 1}, {"images": images[0]}
    )


ROWS = (
    Row(
        "prepare", "preparing",
        f"decode every photo and resize it to {SIZE} px, on all cores; tledge also hashes and writes them",
        "pillow_decode.py: open, convert, resize in a thread pool, kept in memory",
        0.9, prepare,
    ),
    Row(
        "decode-epochs", "preparing",
        "train and validation batches of 10 epochs, test once, from JPEG files to the last batch",
        "decode.py: image_dataset_from_directory, decoding in every epoch",
        1.0, epochs,
    ),
)  # fmt: skip


def inside_prepare(photos: str, repeats: str) -> None:
    """Inside a child: bare Pillow and `dataset.prepare` in turns."""
    import numpy as np

    from benchmarks.baselines.pillow_decode import decode
    from tledge import dataset
    from tledge.tables import Data

    kept = {}

    def bare() -> None:
        kept["bare"] = decode(Path(photos))

    def ours() -> None:
        kept["tledge"] = dataset.prepare(Data(source=f"folder:{photos}"), SIZE)

    with tempfile.TemporaryDirectory() as scratch:

        def fresh() -> object:
            os.environ["TLEDGE_CACHE"] = tempfile.mkdtemp(dir=scratch)
            return timed(ours)

        baseline, tledge = in_turns(lambda: timed(bare), fresh, int(repeats))
        images = kept["tledge"].images()
        order = np.argsort([row.id for row in kept["tledge"].rows])
        same = bool(np.array_equal(images[order], kept["bare"]))
    rates = {}
    for name, side in (("baseline", baseline), ("tledge", tledge)):
        middle = sorted(one.seconds for one in side)[len(side) // 2]
        rates[name] = round(len(images) / middle / (os.cpu_count() or 1))
    print(
        json.dumps(
            {
                "baseline": [astuple(one) for one in baseline],
                "tledge": [astuple(one) for one in tledge],
                "images": len(images),
                "images a second and core": rates,
                "same": same,
            }
        )
    )


def inside_epochs(recipe_path: str) -> None:
    """Inside a child: prepare once, then every batch of every epoch as training and validation take them."""
    import numpy as np

    from tledge import dataset, feeding, quiet, recipe, splits

    quiet.load("keras", "train")
    made = recipe.load(Path(recipe_path))
    stage = made.stage[0]

    def work() -> int:
        prepared = dataset.prepare(made.data, SIZE)
        rows = splits.split(prepared, made.data, made.recipe.seed)
        one_hot = np.eye(len(prepared.labels), dtype=np.float32)[prepared.label_indices()]
        parts = {name: feeding.Examples(prepared.images(), one_hot, part) for name, part in rows.items()}
        order = ["train", "validation"] * stage.epochs + ["test"]
        return sum(
            len(labels)
            for epoch, name in enumerate(order)
            for _, labels in _each(feeding.batches(parts[name], stage, 0, epoch, train=name == "train"))
        )

    images: list[int] = []
    found = timed(lambda: images.append(work()))
    print(json.dumps({"seconds": found.seconds, "cpu": found.cpu, "images": images[0]}))


def _each(data: Any) -> Iterator[Any]:
    return (data[number] for number in range(len(data)))
