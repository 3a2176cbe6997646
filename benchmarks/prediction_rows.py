"""Rows about what a user waits for: help, one photo from a cold start, each photo once it runs."""

from __future__ import annotations

import json
import re
import statistics
import sys
from dataclasses import astuple
from pathlib import Path

from benchmarks.measure import Measured, Row, from_json, in_turns, timed
from benchmarks.processes import Timing, baseline_script, process, worker
from benchmarks.workspace import Material

HELP_CPU = 0.1
"""CPU seconds that `tledge --help` may take."""

COLD = 0.6
"""Seconds from typing `tledge predict` to the answer for one photo."""

VARIANT = "tflite-fp32"
"""Predicted with: the fastest artifact on x86, beside which any overhead shows most."""

PHOTOS = 60


def help_(material: Material) -> Measured:
    """`--help` of both command lines; a script with Keras imports it before it reads its arguments."""
    ours = [sys.executable, "-m", "tledge", "--help"]
    bare = [sys.executable, "-c", "import click"]
    cpu = [process(bare, material.env).timing.cpu for _ in range(material.repeats(5))]
    plain = baseline_script("predict.py", "--help")
    baseline, tledge = in_turns(
        lambda: process(plain, material.env).timing,
        lambda: process(ours, material.env).timing,
        material.repeats(7),
    )
    taken = statistics.median(one.cpu for one in tledge)
    facts = {"CPU milliseconds": round(1000 * taken), "of them Python and click": _ms(cpu)}
    return Measured(baseline, tledge, {f"at most {1000 * HELP_CPU:.0f} ms of CPU": taken <= HELP_CPU}, facts)


def _ms(seconds: list[float]) -> int:
    return round(1000 * statistics.median(seconds))


def predict_start(material: Material) -> Measured:
    """Whole processes in turns, the same weights and the same photo."""
    photo, labels = material.one_photo(), sorted(one.name for one in (material.photos / "test").iterdir())
    plain = baseline_script("predict.py", material.run / "model.keras", photo, *labels)
    arguments = ["predict", material.run / "bundle", photo, "--variant", VARIANT]
    ours = [sys.executable, "-m", "tledge", *map(str, arguments)]
    traced = process([sys.executable, "-X", "importtime", *ours[1:]], material.env)
    loaded = re.findall(r"\|\s+(tensorflow|keras)\b", traced.err)
    said: dict[str, str] = {"tledge": traced.out.strip()}

    def keras() -> Timing:
        ended = process(plain, material.env)
        said["baseline"] = ended.out.strip()
        return ended.timing

    baseline, tledge = in_turns(keras, lambda: process(ours, material.env).timing, material.repeats(5))
    conditions = {
        f"at most {COLD} s": statistics.median(one.seconds for one in tledge) <= COLD,
        "neither TensorFlow nor Keras loaded": not loaded,
    }
    return Measured(baseline, tledge, conditions, {"answers": said})


def predict_image(material: Material) -> Measured:
    """Seven times in turns in one process, the same photos and the same artifact."""
    command = worker("predict", material.run, material.photos / "test", material.repeats(7))
    value = process(command, material.env).value()
    facts = {name: value[name] for name in ("photos", "milliseconds an image")}
    return from_json(value, conditions={"same labels as the bare loop": value["same"]}, facts=facts)


ROWS = (
    Row(
        "predict-start", "starting",
        "one photo from a cold start to the answer, as a process",
        "predict.py: import keras, load_model, predict",
        None, predict_start,
    ),
    Row(
        "predict-image", "starting",
        f"{PHOTOS} photos in a running process, decoding included, {VARIANT}",
        "invoke.py: Pillow and LiteRT's Interpreter, one thread",
        round(1 / 1.15, 2), predict_image,
    ),
    Row(
        "help", "starting",
        "the command line's help",
        "predict.py --help: argparse behind `import keras`",
        None, help_,
    ),
)  # fmt: skip


def inside_predict(run: str, photos: str, repeats: str) -> None:
    """Inside a child: the bare loop and `tledge.predict` in turns."""
    from benchmarks.baselines.invoke import opened
    from tledge.predict import predict
    from tledge.reader import open_predictor

    folder = Path(run)
    paths = sorted(Path(photos).rglob("*.jpg"))
    paths = paths[:: max(1, len(paths) // PHOTOS)][:PHOTOS]
    bare = opened(str(folder / "artifacts" / f"{VARIANT}.tflite"))
    predictor = open_predictor(folder / "bundle", VARIANT)

    def plain() -> Timing:
        return timed(lambda: [bare(str(path)) for path in paths])

    def ours() -> Timing:
        return timed(lambda: list(predict(predictor, paths, 3)))

    baseline, tledge = in_turns(plain, ours, int(repeats))
    best = [answer.predictions[0].label for answer in predict(predictor, paths, 1)]
    same = best == [predictor.labels[int(bare(str(path)).argmax())] for path in paths]
    each = {
        name: round(1000 * statistics.median(one.seconds for one in side) / len(paths), 3)
        for name, side in (("baseline", baseline), ("tledge", tledge))
    }
    print(
        json.dumps(
            {
                "baseline": [astuple(one) for one in baseline],
                "tledge": [astuple(one) for one in tledge],
                "photos": len(paths),
                "milliseconds an image": each,
                "same": same,
            }
        )
    )
