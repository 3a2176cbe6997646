"""Training that cannot go well: refused at once, or trained with messages on what its figures mean."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from torture.inputs.odd_trainings import REFUSED, TRAINED, TWO_LABELS, OddTraining, folder_photos
from torture.support import command_batch, processes
from torture.support.case import Case
from torture.support.command_checks import command_faults, observe
from torture.support.observation import Observation
from torture.support.workspace import Workspace

RECIPE = """
[recipe]
name = "odd"
[data]
source = {source}
[model]
backbone = "tiny"
weights = "none"
image_size = 32
[[stage]]
name = "all"
epochs = 1
unfreeze = "all"
batch_norm = "train"
learning_rate = 4e-3
[export]
variants = {variants}
[log]
tensorboard = false
"""
REFUSAL_SECONDS = 60
"""Seconds in which a refusal has to come, the loading of TensorFlow included."""


def commands_of(workspace: Workspace, folder: Path, name: str, trial: OddTraining) -> Iterator[list[object]]:
    """Write photos and recipe; yield the commands to run."""
    recipe = folder / f"{name}.toml"
    source, variants = (
        json.dumps(value, ensure_ascii=True) for value in (trial.make(folder / name), trial.variants)
    )
    recipe.write_text(RECIPE.format(source=source, variants=variants), encoding="utf-8")
    run = folder / f"{name} run"
    yield [
        "train",
        recipe,
        "--out",
        run,
        "--quiet",
        *(part for setting in trial.settings for part in ("--set", setting)),
    ]
    if not trial.refused and not workspace.reduced:
        yield ["export", run, "--quiet"]
        yield ["verify", run, "--quiet"]


def refused(workspace: Workspace) -> Observation:
    """Train with sets and settings that nothing can be learned from."""
    folder = workspace.folder("refused")
    commands = [next(commands_of(workspace, folder, name, trial)) for name, trial in REFUSED.items()]
    results = command_batch.run(workspace, folder, commands)
    shortfalls = (
        [] if len(results) == len(commands) else [f"only {len(results)} of {len(commands)} commands ended"]
    )
    for (name, trial), result in zip(REFUSED.items(), results, strict=False):
        shortfalls += command_faults(result, trial.refused, trial.words, f"{name}: ")
        shortfalls += [f"{name}: took {result.seconds:.0f} s"] if result.seconds > REFUSAL_SECONDS else []
        shortfalls += [f"{name}: a run folder was begun"] if (folder / f"{name} run").exists() else []
    return observe(results, f"{len(results)} sets refused before training", shortfalls)


def trained(workspace: Workspace) -> Observation:
    """Train on odd sets and check the messages about their scores; in full also export and verify."""
    folder = workspace.folder("trained")
    chosen = {name: trial for name, trial in TRAINED.items() if trial.reduced or not workspace.reduced}
    commands = {name: list(commands_of(workspace, folder, name, trial)) for name, trial in chosen.items()}
    all_commands = [job for trial_commands in commands.values() for job in trial_commands]
    results = command_batch.run(workspace, folder, all_commands, timeout=1800)
    shortfalls = (
        []
        if len(results) == len(all_commands)
        else [f"only {len(results)} of {len(all_commands)} commands ended"]
    )
    remaining = iter(results)
    for name, trial in chosen.items():
        own_results = [result for _job, result in zip(commands[name], remaining, strict=False)]
        shortfalls += [
            f"{name}: {fault}" for fault in odd_training_faults(trial, own_results, folder / f"{name} run")
        ]
    verdicts = verdicts_below(folder)
    summary = f"{len(chosen)} odd sets trained; verdicts " + (
        ", ".join(f"{name} {count}" for name, count in verdicts.items()) or "not asked for"
    )
    return observe(results, summary, shortfalls)


def odd_training_faults(
    trial: OddTraining, results: Sequence[processes.ProcessResult], run: Path
) -> Iterator[str]:
    """List what falls short of how the commands ended: training, then export and verification."""
    for result in results:
        if result.crashed or result.hung or "Warning" in result.err:
            yield f"crashed, hung or warned: {result.tail}"
    if not results or results[0].code:
        yield f"training did not end well: {results[0].tail if results else 'it did not run'}"
        return
    yield from (f"training does not say {word!r}" for word in trial.words if word not in results[0].out)
    yield from run_faults(run)
    if len(results) > 1:
        yield from verification_faults(trial, results[1:], run)


def run_faults(run: Path) -> Iterator[str]:
    """List what is wrong with the figures and the labels that a run wrote."""
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for split in ("validation", "test"):
        score = facts[split]
        if not (0 <= score["low"] <= score["accuracy"] <= score["high"] <= 1):
            yield f"no score: {score}"
    if not math.isfinite(facts["confidence"]["temperature"]):
        yield f"no confidence: {facts['confidence']}"
    labels = (run / "labels.txt").read_text(encoding="utf-8").split("\n")[:-1]
    if labels != facts["labels"] or labels != sorted(labels):
        yield f"labels.txt has {labels[:5]}, run.json {facts['labels'][:5]}"


def verification_faults(
    trial: OddTraining, results: Sequence[processes.ProcessResult], run: Path
) -> Iterator[str]:
    """List what is not honest in an export and a verification."""
    exported, output = results[0], results[0].out + results[0].err
    if exported.code != trial.exported:
        yield f"export ended otherwise than with {trial.exported}: {exported.tail}"
    yield from (f"export does not say {word!r}" for word in trial.verified if word not in output)
    if not (run / "parity.json").is_file():
        return
    if results[1].code != exported.code:
        yield f"verify ended otherwise than the export: {results[1].tail}"
    for row in json.loads((run / "parity.json").read_text(encoding="utf-8"))["rows"]:
        if row["verdict"] != "passed" and not row["reasons"]:
            yield f"{row['variant']} is {row['verdict']} without a reason"


def verdicts_below(folder: Path) -> dict[str, int]:
    """Count how often each verdict was given."""
    counts: dict[str, int] = {}
    for path in sorted(folder.glob("*/parity.json")):
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    return counts


DIVERGING = (
    "stage.0.optimizer=sgd", "stage.0.learning_rate=100", "stage.0.weight_decay=10", "stage.0.epochs=30",
    "stage.0.batch_norm=inference", "stage.0.restore_best=false",
)  # fmt: skip
"""Every step makes the weights about a thousand times as large, until float32 ends."""


def loss_not_a_number(workspace: Workspace) -> Observation:
    """Meet a loss that is no number, in a step and in validation; then use --resume."""
    folder = workspace.folder("no number")
    chosen = list(NO_NUMBER.items())[: workspace.count(2, 1)]
    commands: list[list[object]] = []
    for name, (batch, where) in chosen:
        trial = OddTraining(
            folder_photos(TWO_LABELS), (*DIVERGING, f"stage.0.batch_size={batch}"), (where,), 1
        )
        train = next(commands_of(workspace, folder, name, trial))
        commands += [train, [*train, "--resume"]]
    results = command_batch.run(workspace, folder, commands)
    shortfalls = (
        [] if len(results) == len(commands) else [f"only {len(results)} of {len(commands)} commands ended"]
    )
    whole_epochs = 0
    for number, (name, (_batch, where)) in enumerate(chosen):
        words = ("stage all: the loss is not a number", where, "--set stage.0.learning_rate=10", "--resume")
        for result in results[2 * number : 2 * number + 2]:
            shortfalls += command_faults(result, 1, words, f"{name}: ")
        epochs, problem = checkpoint(folder / f"{name} run")
        whole_epochs += epochs
        shortfalls += [f"{name}: {problem}"] if problem else []
    return observe(
        results,
        f"{len(results)} trainings stopped, {whole_epochs} whole epochs kept, all weights numbers",
        shortfalls,
    )


NO_NUMBER = {"in a step": (8, "at step "), "in validation": (64, "in validation after epoch ")}
"""Batch size, and where the loss is found to be no number: with one step an epoch, in validation."""


def checkpoint(run: Path) -> tuple[int, str]:
    """Count the epochs that a checkpoint holds, and describe what is wrong with its weights."""
    path = run / "checkpoints" / "state.npz"
    if not path.is_file():
        return 0, "no checkpoint is left"
    with np.load(path) as packed:
        state = json.loads(str(packed["state"].reshape(-1)[0]))
        broken = [name for name in packed.files if name != "state" and not np.isfinite(packed[name]).all()]
    if broken:
        return state["epoch"], f"{len(broken)} arrays of the checkpoint hold no numbers"
    return state["epoch"], "" if state["epoch"] else "the checkpoint holds no epoch"


LIMITS = (3000, 3500, 3800)
"""MiB of address space: TensorFlow loads, and a batch of 32 photos of this size does not fit.

Where it does not fit is another place each time; in some of them C++ aborts the process.
"""
LARGE = ("model.image_size=768", "stage.0.batch_size=32")


def out_of_memory(workspace: Workspace) -> Observation:
    """Run out of address space while training: the message says what to set.

    What `halve_batch` does then is tested where only the backend tells of it
    (tests/stages/training/test_accelerators.py): after C++ has once been without memory here, it may
    crash as well.
    """
    folder = workspace.folder("memory")
    trial = OddTraining(
        folder_photos({"train": dict.fromkeys("ab", 20), "test": dict.fromkeys("ab", 4)}), LARGE
    )
    train = [*next(commands_of(workspace, folder, "large", trial)), "--force"]
    words = ("batch_size = 32", "batch_size = 16", "stage all: ")
    results, shortfalls = [], []
    for limit in LIMITS:
        results.append(workspace.tledge(*train, timeout=300, memory=limit))
        shortfalls += command_faults(results[-1], 1, words, f"{limit} MiB: ")
    return observe(
        results, f"refused within {', '.join(map(str, LIMITS))} MiB, with the batch to set", shortfalls
    )


CASES = (
    Case("nothing to learn from", "refused before training, by name, and no run folder is begun", refused),
    Case("odd sets that train", "says what its scores do not show; no verdict without a reason", trained),
    Case(
        "a loss that is no number", "stops at once, says what to try, keeps the last epoch", loss_not_a_number
    ),
    Case("out of memory", "names the batch size to set, also where C++ aborts", out_of_memory, reduced=False),
)
