"""Model files, mutated by bytes and by structure: opened, predicted with, inspected, verified."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from torture.inputs import keras_mutations, model_mutations, onnx_external, onnx_mutations, tflite_mutations
from torture.support import background, processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace
from torture.workers import model_opener

Mutation = Callable[[bytes, Random], tuple[str, bytes]]

BY_STRUCTURE: dict[str, Mutation] = {
    "tflite": tflite_mutations.mutate,
    "onnx": onnx_mutations.mutate,
    "keras": keras_mutations.mutate,
}

BATCH = 200
"""Files that a process opens before the next one takes over, so that little adds up in it."""


@dataclass
class StepOutcomes:
    """How the steps of all files ended; `crashed` are those that a trial is there for, by name."""

    counts: Counter[str] = field(default_factory=Counter)
    crashed: dict[str, str] = field(default_factory=dict)
    shortfalls: list[str] = field(default_factory=list)
    hangs: int = 0
    peak: float = 0.0


def mutated_models(kind: str, model: bytes, rng: Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` mutated files, a third changed by bytes, the others by structure."""
    count_made = 0
    while count_made < count:
        mutation = model_mutations.mutate_bytes if count_made % 3 == 0 else BY_STRUCTURE[kind]
        try:
            name, data = mutation(model, rng)
        except Exception:  # numbers that no field takes
            continue
        count_made += 1
        yield name, data


def write_mutated_files(workspace: Workspace, kind: str, sources: list[Path], count: int) -> dict[Path, str]:
    """Write mutated files of a kind into a folder; return how each was changed."""
    folder = workspace.folder(f"mutated {kind}")
    changes = {}
    for source in sources:
        rng = workspace.rng(f"{kind} {source.name}")
        for name, data in mutated_models(kind, source.read_bytes(), rng, count // len(sources)):
            path = folder / f"{len(changes):05d}{source.suffix}"
            path.write_bytes(data)
            changes[path] = f"{source.name}, {name}"
    return changes


def open_files(workspace: Workspace, changes: dict[Path, str], timeout: float = 1200) -> StepOutcomes:
    """Let processes open the files; after a crash another process starts at the next file."""
    outcomes, waiting = StepOutcomes(), list(changes)
    photo = sorted((workspace.run / "golden").glob("*.png"))[0]
    bundle, results = small_bundle(workspace), workspace.work / "results.jsonl"
    while waiting:
        results.unlink(missing_ok=True)
        files = (photo, bundle, results, *waiting[:BATCH])
        command = processes.python_module("torture.workers.model_opener", *files)
        result = processes.run(command, workspace.env, timeout=timeout)
        outcomes.peak = max(outcomes.peak, result.peak)
        lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
        if not lines:
            raise RuntimeError(f"the opening process did not start: {result.tail}\n{result.err}")
        _record_steps(outcomes, lines, changes, waiting[0].parent)
        done_count = len({line["file"] for line in lines})
        if "ended" not in lines[-1]:
            _record_end(outcomes, lines[-1], result, changes, waiting[0].parent)
        elif result.code:
            outcomes.shortfalls.append(f"after {lines[-1]['file']}: {result.tail}")
        waiting = waiting[done_count:]
    return outcomes


def _record_steps(
    outcomes: StepOutcomes, lines: list[dict[str, str]], changes: dict[Path, str], folder: Path
) -> None:
    for line in lines:
        if "ended" in line:
            outcomes.counts[f"{line['step']} {line['ended'].split(':')[0]}"] += 1
            if line["ended"].startswith("RAISED"):
                change = changes[folder / line["file"]]
                outcomes.shortfalls.append(f"{line['file']} ({change}): {line['step']} {line['ended']}")


def _record_end(
    outcomes: StepOutcomes,
    last: dict[str, str],
    result: processes.ProcessResult,
    changes: dict[Path, str],
    folder: Path,
) -> None:
    """Record that the process ended in a step: `zeros` is allowed to crash, other steps are not."""
    name = signal.Signals(-result.code).name if result.code < 0 else f"exit {result.code}"
    fault = f"{last['file']} ({changes[folder / last['file']]}): {last['step']} ended with {name}"
    outcomes.counts[f"{last['step']} {name}"] += 1
    outcomes.hangs += result.code == -signal.SIGALRM and last["step"] != "zeros"
    if last["step"] == "zeros":
        outcomes.crashed[last["file"]] = name
    else:
        outcomes.shortfalls.append(fault)


def small_bundle(workspace: Workspace) -> Path:
    """Copy the tiny run's bundle with two golden photos, so that verifying takes no time."""
    bundle = workspace.folder("bundle of one") / "bundle"
    shutil.copytree(workspace.run / "bundle", bundle, ignore=shutil.ignore_patterns("preview.html"))
    path = bundle / "manifest.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["golden"] = raw["golden"][:2]
    path.write_text(json.dumps(raw), encoding="utf-8")
    return bundle


def open_with_commands(workspace: Workspace, chosen: list[Path], changes: dict[Path, str]) -> Observation:
    """Open the files with `predict`, `inspect` and `verify`, which have to end in words."""
    photo = sorted((workspace.run / "golden").glob("*.png"))[0]
    shortfalls, codes, peak, hangs, crashes = [], Counter[int](), 0.0, 0, 0
    for number, path in enumerate(chosen):
        every = (["predict", path, photo], ["inspect", path], ["verify", "BUNDLE"])
        for arguments in every if number % 3 == 0 else every[:1]:
            is_bundle = arguments[0] == "verify"
            command = (
                ["verify", model_opener.replace_artifact(path, small_bundle(workspace))]
                if is_bundle
                else arguments
            )
            result = workspace.tledge(*command, timeout=120, memory=12 << 10)
            codes[result.code] += 1
            peak, hangs, crashes = max(peak, result.peak), hangs + result.hung, crashes + result.crashed
            if (
                result.crashed
                or result.hung
                or result.code not in (0, 2, 3, 4)
                or "\x1b" in result.out + result.err
            ):
                shortfalls.append(f"{command[0]} {path.name} ({changes[path]}): {result.tail}")
    exit_codes = ", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items()))
    return Observation(
        f"{sum(codes.values())} commands ({exit_codes})",
        tuple(shortfalls),
        crashes=crashes,
        hangs=hangs,
        peak=peak,
    )


def _model_case(
    kind: str, names: tuple[str, ...], full: int, reduced: int
) -> Callable[[Workspace], Observation]:
    """Build a case: mutated files of a kind, all opened in separate processes, some by commands."""

    def run(workspace: Workspace) -> Observation:
        sources = [workspace.run / "artifacts" / name for name in names]
        changes = write_mutated_files(workspace, kind, sources, workspace.count(full, reduced))
        outcomes = open_files(workspace, changes)
        folder = next(iter(changes)).parent
        rng = workspace.rng(f"{kind} commands")
        sample = rng.sample(sorted(changes), workspace.count(60, 3))
        harmful = [folder / name for name in sorted(outcomes.crashed)[: workspace.count(100, 3)]]
        observation = open_with_commands(workspace, [*harmful, *sample], changes)
        shutil.rmtree(folder)
        steps = ", ".join(f"{name} {count}" for name, count in sorted(outcomes.counts.items()))
        caught = f"{len(outcomes.crashed)} crash the runtime where it is tried first"
        summary = f"{len(changes)} files ({steps}); {caught}; {observation.summary}"
        shortfalls = (*outcomes.shortfalls, *observation.shortfalls)
        crashes = sum("ended with SIG" in line for line in outcomes.shortfalls) + observation.crashes
        return Observation(
            summary,
            shortfalls,
            files=len(changes),
            crashes=crashes,
            hangs=outcomes.hangs + observation.hangs,
            peak=max(outcomes.peak, observation.peak),
        )

    return run


def keras_files(workspace: Workspace) -> Observation:
    """Load Keras files as export and preview do: no code of theirs runs, and no other file is read."""
    mark = workspace.folder("keras mark") / "ran.txt"
    keras_mutations.MARK = str(mark)
    changes = write_mutated_files(
        workspace, "keras", [workspace.run / "model.keras"], workspace.count(600, 36)
    )
    outcomes = open_files(workspace, changes)
    shutil.rmtree(next(iter(changes)).parent)
    ran = (f"code of a file ran: {mark.read_text()!r}",) if mark.exists() else ()
    steps = ", ".join(f"{name} {count}" for name, count in sorted(outcomes.counts.items()))
    crashes = sum("ended with SIG" in line for line in outcomes.shortfalls)
    return Observation(
        f"{len(changes)} files ({steps})",
        (*outcomes.shortfalls, *ran),
        files=len(changes),
        crashes=crashes,
        hangs=outcomes.hangs,
        peak=outcomes.peak,
    )


def exchanged_files(workspace: Workspace) -> Observation:
    """Predict with a file that is exchanged all the time: what was tried is what is opened.

    One of the two files crashes the runtime. If a command read the file again after trying it, about every
    second one would open what was not tried.
    """
    folder = workspace.folder("exchanged model")
    good = (workspace.run / "artifacts" / "tflite-int8.tflite").read_bytes()
    contents = (good, tflite_mutations.without_scales(good))
    photo = sorted((workspace.run / "golden").glob("*.png"))[0]
    target = folder / "m.tflite"
    target.write_bytes(good)
    with background.working(partial(_exchange, target, contents)):
        count = workspace.count(60, 6)
        results = [workspace.tledge("predict", target, photo, timeout=120) for _ in range(count)]
    codes = Counter(result.code for result in results)
    return Observation(
        f"{len(results)} commands ("
        + ", ".join(f"exit {code}: {codes[code]}" for code in sorted(codes))
        + ")",
        tuple(f"predict: {result.tail}" for result in results if result.code not in (0, 4)),
        files=len(results),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


def _exchange(target: Path, contents: tuple[bytes, bytes], finished: threading.Event) -> None:
    """Replace the file by the other content, in one step, until `finished` is set."""
    rng, made = Random(0), target.with_suffix(".new")
    while not finished.is_set():
        made.write_bytes(rng.choice(contents))
        made.replace(target)
        time.sleep(0.002)


def external_weights(workspace: Workspace) -> Observation:
    """Open ONNX models whose weights are in a file of the current folder, by every command that reads one."""
    folder = workspace.folder("external weights")
    models, secret = onnx_external.external_models((workspace.run / "artifacts/onnx-fp32.onnx").read_bytes())
    (folder / onnx_external.SECRET).write_bytes(secret)
    photo = sorted((workspace.run / "golden").glob("*.png"))[0]
    results, shortfalls = [], list[str]()
    for number, (place, content) in enumerate(models.items()):
        model = folder / "m.onnx"
        model.write_bytes(content)
        bundle = model_opener.replace_artifact(model, small_bundle(workspace))
        every: list[list[object]] = [
            ["predict", bundle, photo], ["inspect", model], ["bench", model, "--threads", "1"],
            ["verify", bundle, "--quiet"], ["compare", workspace.run / "bundle", bundle],
            ["predict", model, photo], ["verify", bundle, "--skew"],
        ]  # fmt: skip
        for arguments in [every[number]] if workspace.reduced else every:
            results.append(workspace.tledge(*arguments, cwd=folder, timeout=120))
            output = results[-1].out + results[-1].err
            if results[-1].code != 4 or "weights of this model are in another file" not in output:
                shortfalls.append(f"{arguments[0]}, {place}: {results[-1].tail}")
    return Observation(
        f"{len(results)} commands on {len(models)} files",
        tuple(shortfalls),
        files=len(models),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


CASES: tuple[Case, ...] = (
    Case(
        "TFLite files", "every command ends in words: a crash only in the process that tries the file first",
        _model_case("tflite", ("tflite-int8.tflite", "tflite-fp32.tflite"), 2600, 60),
    ),
    Case(
        "ONNX files", "every command ends in words: a crash only in the process that tries the file first",
        _model_case("onnx", ("onnx-fp32.onnx",), 1800, 30),
    ),
    Case(
        "ONNX weights in another file", "refused by every command, wherever the file names them",
        external_weights,
    ),
    Case("Keras files", "refused in words; no code of the file runs", keras_files),
    Case("files that are exchanged meanwhile", "what was tried is what is opened", exchanged_files),
)  # fmt: skip
