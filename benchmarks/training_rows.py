"""Training rows: a frozen base, the same with augmented photos, and fine-tuning the top of the base."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import Any

from benchmarks import augmentation_copies
from benchmarks.measure import Measurement, Row
from benchmarks.processes import ProcessResult, Timing, baseline_command, run_process, worker_command
from benchmarks.workspace import Workspace

AUGMENT = 'flip = "horizontal"\nrotation = 0.2\n'
COPIES = 3
TOP = 'unfreeze = "block_11_expand_relu"\noptimizer = "rmsprop"\nlearning_rate = 1e-5\n'
"""`base.layers[100:]` of Keras' MobileNetV2, of any width."""

CLOSE = 0.005
"""Test accuracy may be below that of fresh augmentation by half a percentage point."""


def train_with_tledge(workspace: Workspace, name: str, **tables: str) -> ProcessResult:
    """Train tledge in a process of its own, with a cache of its own so that nothing is made before."""
    cache = workspace.work / f"cache-{name}"
    env = {**workspace.env, "TLEDGE_CACHE": str(cache)}
    run = workspace.work / "runs" / name
    ended = run_process(worker_command("train", workspace.recipe(name, **tables), run), env)
    shutil.rmtree(cache)
    return ended


def train_baseline(workspace: Workspace, name: str) -> ProcessResult:
    """Train a baseline in a process of its own."""
    options = ("--weights", workspace.weights, "--epochs", workspace.epochs)
    return run_process(baseline_command(f"{name}.py", workspace.photos, *options), workspace.env)


def compare_training(
    baseline: ProcessResult, ours: ProcessResult, conditions: dict[str, bool], **facts: Any
) -> Measurement:
    """Compare the stage alone: photos are decoded before, on both sides, and imports are done."""
    theirs, own = baseline.value(), ours.value()
    both = {
        "test accuracy": {"baseline": theirs["accuracy"], "tledge": own["accuracy"]},
        "decoding, seconds": {"baseline": theirs["decode"], "tledge": own["prepare"]},
        "ratio with decoding": (theirs["decode"] + theirs["seconds"]) / (own["prepare"] + own["seconds"]),
        "ratio of whole processes": baseline.timing.seconds / ours.timing.seconds,
        "whole process": {"baseline": asdict(baseline.timing), "tledge": asdict(ours.timing)},
        "peak MiB": {"baseline": round(baseline.peak_mib), "tledge": round(ours.peak_mib)},
    }
    sides = [(Timing(side["seconds"], side["cpu"]),) for side in (theirs, own)]
    return Measurement(*sides, conditions=conditions, facts=both | facts)


def frozen(workspace: Workspace) -> Measurement:
    """Train a head for ten epochs; a third run without the cache must end with the same bytes."""
    baseline, ours = train_baseline(workspace, "frozen"), train_with_tledge(workspace, "frozen")
    uncached = train_with_tledge(workspace, "frozen-uncached", stage="reuse_frozen = false").value()
    own = ours.value()
    same = {
        "same model, bit for bit, as without the cache": own["sha256"] == uncached["sha256"],
        "same test images right as without the cache": own["right"] == uncached["right"],
    }
    return compare_training(
        baseline, ours, same, **{"tledge without its cache, seconds": uncached["seconds"]}
    )


def augmented(workspace: Workspace) -> Measurement:
    """Keep three augmentation copies, against fresh ones in every epoch; drawing the copies counts."""
    baseline = train_baseline(workspace, "augmented")
    ours = train_with_tledge(workspace, "augmented", augment=f"{AUGMENT}views = {COPIES}")
    heads = 2 if workspace.small else augmentation_copies.HEADS
    recipe = workspace.recipe("views", augment=AUGMENT)
    accuracies = run_process(worker_command("views", recipe, COPIES, heads), workspace.env).value()
    compared_heads = augmentation_copies.summarize(accuracies)
    close = {
        f"test accuracy at most {CLOSE:.1%} below that of fresh augmentation, mean of {heads} heads":
        compared_heads["difference"] >= -CLOSE
    }  # fmt: skip
    return compare_training(baseline, ours, close, **{f"{heads} heads each": compared_heads})


def fine_tune(workspace: Workspace) -> Measurement:
    """Train from layer 100 of MobileNetV2 on, as the tutorial does."""
    return compare_training(
        train_baseline(workspace, "fine_tune"), train_with_tledge(workspace, "fine-tune", stage=TOP), {}
    )


ONCE = "minutes a side; a whole stage averages over hundreds of steps"
ROWS = (
    Row(
        "frozen", "training",
        "10 epochs of a new head on frozen MobileNetV2 0.35, 160 px, validation after each",
        "frozen.py: Keras on tf.data, photos cached decoded",
        8.0, frozen, ONCE,
    ),
    Row(
        "augmented", "training",
        f"the same with flips and rotations; tledge draws {COPIES} views of each photo once",
        "augmented.py: random layers in the network, drawn in every epoch",
        3.0, augmented, ONCE,
    ),
    Row(
        "fine-tune", "training",
        "10 epochs from layer 100 of MobileNetV2 0.35 on, 160 px, validation after each",
        "fine_tune.py: Keras on tf.data, photos cached decoded",
        1.5, fine_tune, ONCE,
    ),
)  # fmt: skip


def time_training(recipe_path: str, out: str) -> None:
    """Train a recipe and print the stage's seconds, from its first work to its last epoch."""
    from pathlib import Path

    import numpy as np

    from tledge._io import files
    from tledge.recipe import lookup
    from tledge.run import folder as run_folder
    from tledge.run import golden_set
    from tledge.training.pipeline import train as train_run

    clock = Clock()
    recipe, text = lookup.read_recipe(recipe_path, ())
    run = train_run(recipe, text, Path(out), progress=clock)
    folder = run_folder.RunFolder(Path(out))
    reference = golden_set.load(folder.golden)
    right = np.flatnonzero(reference.probabilities.argmax(1) == reference.labels)
    begun = "augment" if "augment" in clock.begun else "stage"
    print(
        json.dumps(
            {
                "seconds": clock.ended["stage"].seconds - clock.begun[begun].seconds,
                "cpu": clock.ended["stage"].cpu - clock.begun[begun].cpu,
                "prepare": clock.ended["prepare"].seconds - clock.begun["prepare"].seconds,
                "accuracy": run.test.accuracy,
                "sha256": files.sha256(folder.model),
                "right": right.tolist(),
            }
        )
    )


class Clock:
    """A `tledge.progress.Progress` that notes when each task first began and last ended."""

    def __init__(self) -> None:
        self.begun: dict[str, Timing] = {}
        self.ended: dict[str, Timing] = {}

    def start(self, task: str, total: int | None = None) -> _Named:
        self.begun.setdefault(task, _now())
        return _Named(task)

    def finish(self, task: _Named) -> None:
        self.ended[task.name] = _now()

    def say(self, line: str) -> None:
        """Note the stage's announcement, before the frozen layers are computed; its task starts after."""
        if line.startswith("stage."):
            self.begun.setdefault("stage", _now())


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def advance(self, steps: int = 1, **figures: object) -> None:
        """Ignore steps: only beginning and end are noted."""


def _now() -> Timing:
    import time

    return Timing(time.perf_counter(), time.process_time())
