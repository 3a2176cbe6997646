"""Training that cannot go well: each either is refused at once, or trains and says what its figures mean."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torture.cases.recipes import faults, seen
from torture.inputs import photo_sets
from torture.support import command_batch, processes
from torture.support.case import Case
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
SOON = 60
"""Seconds in which a refusal has to come, the loading of TensorFlow included."""

TWO: photo_sets.Counts = {"train": {"a": 20, "b": 20}, "test": {"a": 10, "b": 10}}
OWN = "data.splits.validation=validation"
MIND = "Mind: "


@dataclass(frozen=True)
class Trial:
    """A set of photos, `--set` for it, and what has to come of it.

    `words` stand in what training prints; where it is `refused`, in the error. `verified` are words
    of the verification, where the run is exported in the full set, with the `exported` exit code.
    """

    make: Callable[[Path], str]
    settings: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    refused: int = 0
    exported: int = 3
    verified: tuple[str, ...] = ()
    variants: tuple[str, ...] = ("tflite-fp32", "tflite-int8", "onnx-fp32")
    reduced: bool = False


def photos(counts: photo_sets.Counts, pixels: photo_sets.Pixels = photo_sets.noisy) -> Callable[[Path], str]:
    """What writes such a folder of photos."""
    return lambda root: photo_sets.folder(root, counts, pixels)


def listed(*labels: str) -> Callable[[Path], str]:
    """What writes a CSV file with these labels."""
    return lambda root: photo_sets.listed(root, labels)


def numbered(*indices: int) -> Callable[[Path], str]:
    """What writes a TFRecord file with labels of these numbers."""
    return lambda root: photo_sets.records(root, indices)


def labelled(label: str) -> Trial:
    """A folder's name that no list of labels could hold."""
    return Trial(
        photos({"train": {label: 8, "b": 8}, "test": {label: 4, "b": 4}}), words=("the label",), refused=1
    )


RECORDS = ("data.splits.test={ from = 'train', fraction = 0.2 }",)
REFUSED = {
    "one label": Trial(
        photos({"train": {"a": 10}, "test": {"a": 5}}), words=("nothing to tell apart",), refused=1
    ),
    "a label only in test": Trial(
        photos({"train": {"a": 10}, "test": {"a": 5, "b": 5}}), words=("no photo of b",), refused=1
    ),
    "one photo a label": Trial(
        photos({"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}),
        words=("validation: no photo",),
        refused=1,
    ),
    "two photos in all": Trial(photos({"train": {"a": 1, "b": 1}}), words=("no split 'test'",), refused=1),
    "photos that all look alike": Trial(
        photos(TWO, photo_sets.grey), ("data.group=near-duplicates",), ("stay together",), 1
    ),
    "no test photos": Trial(
        photos({"train": {"a": 20, "b": 20}, "test": {"a": 0}}), words=("no split 'test'",), refused=1
    ),
    "no photos at all": Trial(photos({"train": {"a": 0, "b": 0}}), words=("holds no photos",), refused=1),
    "no stages": Trial(photos(TWO), ("stage=[]",), ("[[stage]]",), 2),
    "a rate of 1e30": Trial(photos(TWO), ("stage.0.learning_rate=1e30",), ("learning_rate",), 2),
    "a batch of none": Trial(photos(TWO), ("stage.0.batch_size=0",), ("batch_size",), 2),
    "a label of two lines": labelled("a\nb"),
    "a label of blanks": labelled(" "),
    "a label of other bytes": labelled("a\udcff"),
    "a label that rings": labelled("a\a"),
    "a label that turns text": labelled("\u202eabc"),
    "a label above its range": Trial(
        numbered(*[0, 1] * 9, 7), (*RECORDS, "data.labels=['a', 'b']"), ("label 7", "0 to 1"), 1
    ),
    "a label below zero": Trial(numbered(*[0, 1] * 9, -1), RECORDS, ("label -1", "from 0"), 1),
    "an empty label": Trial(listed("a", ""), ("data.split=split",), ("the label", "is empty"), 1),
    "binary loss of three": Trial(
        photos({"train": dict.fromkeys("abc", 9), "test": dict.fromkeys("abc", 9)}),
        ("model.loss=binary",),
        ("binary",),
        2,
    ),
}
"""What is refused before anything is trained, with the exit code and the words."""

TRAINED = {
    "a class missing from validation": Trial(
        photos({"train": dict.fromkeys("abc", 10), "validation": dict.fromkeys("ab", 5),
                "test": dict.fromkeys("abc", 8)}),
        (OWN,), (MIND + "no photo at all in validation: c",), reduced=True,
    ),
    "a class missing from test": Trial(
        photos({"train": dict.fromkeys("abc", 10), "validation": dict.fromkeys("abc", 5),
                "test": dict.fromkeys("ab", 8)}),
        (OWN,), (MIND + "no photo at all in test: c",),
    ),
    "a test of one class": Trial(
        photos({"train": dict.fromkeys("ab", 20), "test": {"a": 10}}), (),
        (MIND + "no photo at all in test: b",),
    ),
    "one photo a label in every split": Trial(
        photos({split: dict.fromkeys("ab", 1) for split in ("train", "validation", "test")}), (OWN,),
        ("2 images",), verified=("2 images cannot show it",),
    ),
    "all photos grey": Trial(
        photos(TWO, photo_sets.grey), (), (MIND + "it answers", "equal photos stand in two splits"),
        variants=("tflite-fp32", "onnx-fp32"), verified=("Keras itself answers the same to every one",),
    ),
    "all photos black": Trial(
        photos(TWO, photo_sets.black), (), (MIND + "it answers",), exported=1,
        verified=("calibration images are all the same",),
    ),
    "the same photos in every split": Trial(
        photos(TWO, photo_sets.flat), (), ("equal photos stand in two splits",), exported=1,
        verified=("are test photos",),
    ),
    "a batch larger than the set": Trial(
        photos(TWO), ("stage.0.batch_size=65536",), ("34 images",), verified=("images cannot show",)
    ),
    "the head alone": Trial(photos(TWO), ("stage.0.unfreeze=none",), ("34 images",)),
    "no epochs": Trial(
        photos(TWO), ("stage.0.epochs=0",), (MIND + "no epoch was trained",), reduced=True
    ),
    "a rate of zero": Trial(photos(TWO), ("stage.0.learning_rate=0",), ("34 images",)),
    "a thousand classes": Trial(
        photos({split: {f"c{n:03d}": 2 for n in range(1000)} for split in ("train", "validation", "test")}),
        (OWN,), ("2000 images",), variants=("tflite-fp32", "tflite-int8"),
    ),
    "odd names": Trial(
        listed(
            "a,b", "🌷", ".net", "../x", "a/b", "<script>", "$\\frac{$", "[red]", '"', "-rf", "C:\\a",
            "\u05e9\u05dc\u05d5\u05dd",
        ),
        ("data.split=split",), ("<script>",),
    ),
}  # fmt: skip
"""What trains all the same, and the words that say what the figures mean."""


def jobs(workspace: Workspace, folder: Path, name: str, trial: Trial) -> Iterator[list[object]]:
    """The commands of a trial, its photos and its recipe being written."""
    recipe = folder / f"{name}.toml"
    source, variants = (
        json.dumps(one, ensure_ascii=True) for one in (trial.make(folder / name), trial.variants)
    )
    recipe.write_text(RECIPE.format(source=source, variants=variants), encoding="utf-8")
    run = folder / f"{name} run"
    yield [
        "train",
        recipe,
        "--out",
        run,
        "--quiet",
        *(part for one in trial.settings for part in ("--set", one)),
    ]
    if not trial.refused and not workspace.reduced:
        yield ["export", run, "--quiet"]
        yield ["verify", run, "--quiet"]


def refused(workspace: Workspace) -> Observation:
    """Sets and settings that nothing can be learned from."""
    folder = workspace.folder("refused")
    asked = [next(jobs(workspace, folder, name, trial)) for name, trial in REFUSED.items()]
    ends = command_batch.run(workspace, folder, asked)
    shortfalls = [] if len(ends) == len(asked) else [f"only {len(ends)} of {len(asked)} commands ended"]
    for (name, trial), ended in zip(REFUSED.items(), ends, strict=False):
        shortfalls += faults(ended, trial.refused, trial.words, f"{name}: ")
        shortfalls += [f"{name}: took {ended.seconds:.0f} s"] if ended.seconds > SOON else []
        shortfalls += [f"{name}: a run folder was begun"] if (folder / f"{name} run").exists() else []
    return seen(ends, f"{len(ends)} sets refused before training", shortfalls)


def trained(workspace: Workspace) -> Observation:
    """Sets that train, with what is said of their scores; in full also exported and verified."""
    folder = workspace.folder("trained")
    chosen = {name: one for name, one in TRAINED.items() if one.reduced or not workspace.reduced}
    asked = {name: list(jobs(workspace, folder, name, trial)) for name, trial in chosen.items()}
    whole = [job for one in asked.values() for job in one]
    ends = command_batch.run(workspace, folder, whole, timeout=1800)
    shortfalls = [] if len(ends) == len(whole) else [f"only {len(ends)} of {len(whole)} commands ended"]
    left = iter(ends)
    for name, trial in chosen.items():
        own = [one for _job, one in zip(asked[name], left, strict=False)]
        shortfalls += [f"{name}: {one}" for one in judged(trial, own, folder / f"{name} run")]
    verdicts = verdicts_below(folder)
    said = f"{len(chosen)} odd sets trained; verdicts " + (
        ", ".join(f"{name} {count}" for name, count in verdicts.items()) or "not asked for"
    )
    return seen(ends, said, shortfalls)


def judged(trial: Trial, ends: Sequence[processes.ProcessResult], run: Path) -> Iterator[str]:
    """What falls short of how a trial's commands ended: training, then export and verification."""
    for ended in ends:
        if ended.crashed or ended.hung or "Warning" in ended.err:
            yield f"crashed, hung or warned: {ended.tail}"
    if not ends or ends[0].code:
        yield f"training did not end well: {ends[0].tail if ends else 'it did not run'}"
        return
    yield from (f"training does not say {word!r}" for word in trial.words if word not in ends[0].out)
    yield from run_faults(run)
    if len(ends) > 1:
        yield from verification_faults(trial, ends[1:], run)


def run_faults(run: Path) -> Iterator[str]:
    """What is wrong with the figures and the labels that a run wrote."""
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


def verification_faults(trial: Trial, ends: Sequence[processes.ProcessResult], run: Path) -> Iterator[str]:
    """What is not honest of an export and a verification."""
    exported, said = ends[0], ends[0].out + ends[0].err
    if exported.code != trial.exported:
        yield f"export ended otherwise than with {trial.exported}: {exported.tail}"
    yield from (f"export does not say {word!r}" for word in trial.verified if word not in said)
    if not (run / "parity.json").is_file():
        return
    if ends[1].code != exported.code:
        yield f"verify ended otherwise than the export: {ends[1].tail}"
    for row in json.loads((run / "parity.json").read_text(encoding="utf-8"))["rows"]:
        if row["verdict"] != "passed" and not row["reasons"]:
            yield f"{row['variant']} is {row['verdict']} without a reason"


def verdicts_below(folder: Path) -> dict[str, int]:
    """How often each verdict was given."""
    counts: dict[str, int] = {}
    for path in sorted(folder.glob("*/parity.json")):
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    return counts


WILD = (
    "stage.0.optimizer=sgd", "stage.0.learning_rate=100", "stage.0.weight_decay=10", "stage.0.epochs=30",
    "stage.0.batch_norm=inference", "stage.0.restore_best=false",
)  # fmt: skip
"""Every step makes the weights about a thousand times as large, until float32 ends."""


def no_number(workspace: Workspace) -> Observation:
    """A loss that is no number, met in a step and in validation; then --resume."""
    folder = workspace.folder("no number")
    chosen = list(NO_NUMBER.items())[: workspace.count(2, 1)]
    asked: list[list[object]] = []
    for name, (batch, where) in chosen:
        trial = Trial(photos(TWO), (*WILD, f"stage.0.batch_size={batch}"), (where,), 1)
        train = next(jobs(workspace, folder, name, trial))
        asked += [train, [*train, "--resume"]]
    ends = command_batch.run(workspace, folder, asked)
    shortfalls = [] if len(ends) == len(asked) else [f"only {len(ends)} of {len(asked)} commands ended"]
    whole = 0
    for number, (name, (_batch, where)) in enumerate(chosen):
        words = ("stage all: the loss is not a number", where, "--set stage.0.learning_rate=10", "--resume")
        for ended in ends[2 * number : 2 * number + 2]:
            shortfalls += faults(ended, 1, words, f"{name}: ")
        epochs, problem = checkpoint(folder / f"{name} run")
        whole += epochs
        shortfalls += [f"{name}: {problem}"] if problem else []
    return seen(
        ends, f"{len(ends)} trainings stopped, {whole} whole epochs kept, all weights numbers", shortfalls
    )


NO_NUMBER = {"in a step": (8, "at step "), "in validation": (64, "in validation after epoch ")}
"""Batch size, and where the loss is found to be no number: with one step an epoch, in validation."""


def checkpoint(run: Path) -> tuple[int, str]:
    """How many epochs a run's checkpoint holds, and what is wrong with it: weights that are no numbers."""
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
    """Training that runs out of address space: refused with what to set.

    What `halve_batch` does then is tested where only the backend tells of it (tests/test_hardware.py):
    after C++ has once been without memory here, it may crash as well.
    """
    folder = workspace.folder("memory")
    trial = Trial(photos({"train": dict.fromkeys("ab", 20), "test": dict.fromkeys("ab", 4)}), LARGE)
    train = [*next(jobs(workspace, folder, "large", trial)), "--force"]
    words = ("batch_size = 32", "batch_size = 16", "stage all: ")
    ends, shortfalls = [], []
    for limit in LIMITS:
        ends.append(workspace.tledge(*train, timeout=300, memory=limit))
        shortfalls += faults(ends[-1], 1, words, f"{limit} MiB: ")
    return seen(ends, f"refused within {', '.join(map(str, LIMITS))} MiB, with the batch to set", shortfalls)


CASES = (
    Case("nothing to learn from", "refused before training, by name, and no run folder is begun", refused),
    Case("odd sets that train", "says what its scores do not show; no verdict without a reason", trained),
    Case("a loss that is no number", "stops at once, says what to try, keeps the last epoch", no_number),
    Case("out of memory", "names the batch size to set, also where C++ aborts", out_of_memory, reduced=False),
)
