"""Rows about what a user waits for: help, one photo from a cold start, each photo once it runs."""

from __future__ import annotations

import json
import re
import statistics
import sys
from dataclasses import astuple
from pathlib import Path

from benchmarks.measure import Measurement, Row, alternate, measurement_from_json, time_call
from benchmarks.processes import Timing, baseline_command, run_process, worker_command
from benchmarks.workspace import Workspace

HELP_CPU_SECONDS = 0.1
"""CPU seconds that `tledge --help` may take."""

COLD_START_SECONDS = 0.6
"""Seconds from typing `tledge predict` to the answer for one photo."""

VARIANT = "tflite-fp32"
"""Predicted with: the fastest artifact on x86, beside which any overhead shows most."""

PHOTOS = 60


def command_help(workspace: Workspace) -> Measurement:
    """Time `--help` of both command lines; a script with Keras imports it before it reads its arguments."""
    ours = [sys.executable, "-m", "tledge", "--help"]
    bare = [sys.executable, "-c", "import click"]
    cpu = [run_process(bare, workspace.env).timing.cpu for _ in range(workspace.repeats(5))]
    plain = baseline_command("predict.py", "--help")
    baseline, tledge = alternate(
        lambda: run_process(plain, workspace.env).timing,
        lambda: run_process(ours, workspace.env).timing,
        workspace.repeats(7),
    )
    cpu_seconds = statistics.median(timing.cpu for timing in tledge)
    facts = {"CPU milliseconds": round(1000 * cpu_seconds), "of them Python and click": _ms(cpu)}
    return Measurement(
        baseline,
        tledge,
        {f"at most {1000 * HELP_CPU_SECONDS:.0f} ms of CPU": cpu_seconds <= HELP_CPU_SECONDS},
        facts,
    )


def _ms(seconds: list[float]) -> int:
    return round(1000 * statistics.median(seconds))


def predict_start(workspace: Workspace) -> Measurement:
    """Alternate between whole processes, with the same weights and the same photo."""
    photo, labels = workspace.one_photo(), sorted(path.name for path in (workspace.photos / "test").iterdir())
    plain = baseline_command("predict.py", workspace.run / "model.keras", photo, *labels)
    arguments = ["predict", workspace.run / "bundle", photo, "--variant", VARIANT]
    ours = [sys.executable, "-m", "tledge", *map(str, arguments)]
    traced = run_process([sys.executable, "-X", "importtime", *ours[1:]], workspace.env)
    loaded = re.findall(r"\|\s+(tensorflow|keras)\b", traced.err)
    answers: dict[str, str] = {"tledge": traced.out.strip()}

    def keras() -> Timing:
        ended = run_process(plain, workspace.env)
        answers["baseline"] = ended.out.strip()
        return ended.timing

    baseline, tledge = alternate(keras, lambda: run_process(ours, workspace.env).timing, workspace.repeats(5))
    conditions = {
        f"at most {COLD_START_SECONDS} s": statistics.median(timing.seconds for timing in tledge)
        <= COLD_START_SECONDS,
        "neither TensorFlow nor Keras loaded": not loaded,
    }
    return Measurement(baseline, tledge, conditions, {"answers": answers})


def predict_image(workspace: Workspace) -> Measurement:
    """Alternate seven times in one process, with the same photos and the same artifact."""
    command = worker_command("predict", workspace.run, workspace.photos / "test", workspace.repeats(7))
    value = run_process(command, workspace.env).value()
    facts = {name: value[name] for name in ("photos", "milliseconds an image")}
    return measurement_from_json(
        value, conditions={"same labels as the bare loop": value["same"]}, facts=facts
    )


ROWS = (
    Row(
        "predict-start", "prediction",
        "one photo from a cold start to the answer, as a process",
        "predict.py: import keras, load_model, predict",
        None, predict_start,
    ),
    Row(
        "predict-image", "prediction",
        f"{PHOTOS} photos in a running process, decoding included, {VARIANT}",
        "invoke.py: Pillow and LiteRT's Interpreter, one thread",
        round(1 / 1.15, 2), predict_image,
    ),
    Row(
        "help", "prediction",
        "the command line's help",
        "predict.py --help: argparse behind `import keras`",
        None, command_help,
    ),
)  # fmt: skip


def time_prediction(run: str, photos: str, repeats: str) -> None:
    """Alternate between the bare loop and `tledge.inference.predict`, and print the times."""
    from benchmarks.baselines.invoke import opened
    from tledge.inference.predict import predict
    from tledge.inference.predictor import open_predictor

    folder = Path(run)
    paths = sorted(Path(photos).rglob("*.jpg"))
    paths = paths[:: max(1, len(paths) // PHOTOS)][:PHOTOS]
    bare = opened(str(folder / "artifacts" / f"{VARIANT}.tflite"))
    predictor = open_predictor(folder / "bundle", VARIANT)

    def plain() -> Timing:
        return time_call(lambda: [bare(str(path)) for path in paths])

    def ours() -> Timing:
        return time_call(lambda: list(predict(predictor, paths, 3)))

    baseline, tledge = alternate(plain, ours, int(repeats))
    best = [answer.predictions[0].label for answer in predict(predictor, paths, 1)]
    same = best == [predictor.labels[int(bare(str(path)).argmax())] for path in paths]
    per_image = {
        name: round(1000 * statistics.median(timing.seconds for timing in side) / len(paths), 3)
        for name, side in (("baseline", baseline), ("tledge", tledge))
    }
    print(
        json.dumps(
            {
                "baseline": [astuple(timing) for timing in baseline],
                "tledge": [astuple(timing) for timing in tledge],
                "photos": len(paths),
                "milliseconds an image": per_image,
                "same": same,
            }
        )
    )
