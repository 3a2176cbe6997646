"""Model files, mutated by bytes and by structure: opened, answered with, looked into, verified."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from torture.inputs import keras_mutations, model_mutations, onnx_mutations, tflite_mutations
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace
from torture.workers import model_opener

Mutation = Callable[[bytes, Random], tuple[str, bytes]]

BY_STRUCTURE: dict[str, Mutation] = {
    "tflite": tflite_mutations.changed,
    "onnx": onnx_mutations.changed,
    "keras": keras_mutations.changed,
}

BATCH = 200
"""Files that a process opens before the next one takes over, so that little adds up in it."""


@dataclass
class Found:
    """How the steps of all files ended; `crashed` are those that a trial is there for, by name."""

    ended: Counter[str] = field(default_factory=Counter)
    crashed: dict[str, str] = field(default_factory=dict)
    shortfalls: list[str] = field(default_factory=list)
    hangs: int = 0
    peak: float = 0.0


def mutated(kind: str, whole: bytes, chance: Random, count: int) -> Iterator[tuple[str, bytes]]:
    """So many files, a third changed by bytes, the others by structure."""
    made = 0
    while made < count:
        mutation = model_mutations.by_bytes if made % 3 == 0 else BY_STRUCTURE[kind]
        try:
            name, data = mutation(whole, chance)
        except Exception:  # numbers that no field takes
            continue
        made += 1
        yield name, data


def files(workspace: Workspace, kind: str, sources: list[Path], count: int) -> dict[Path, str]:
    """Mutated files of a kind in a folder, and how each was changed."""
    folder = workspace.folder(f"mutated {kind}")
    found = {}
    for source in sources:
        chance = workspace.chance(f"{kind} {source.name}")
        for name, data in mutated(kind, source.read_bytes(), chance, count // len(sources)):
            path = folder / f"{len(found):05d}{source.suffix}"
            path.write_bytes(data)
            found[path] = f"{source.name}, {name}"
    return found


def opened(workspace: Workspace, made: dict[Path, str], timeout: float = 1200) -> Found:
    """Let processes open the files, one that crashed followed by another from the next file on."""
    found, left = Found(), list(made)
    photo = sorted((workspace.run / "golden").glob("*.png"))[0]
    bundle, results = small_bundle(workspace), workspace.work / "results.jsonl"
    while left:
        results.unlink(missing_ok=True)
        files = (photo, bundle, results, *left[:BATCH])
        command = processes.python_module("torture.workers.model_opener", *files)
        ended = processes.run(command, workspace.env, timeout=timeout)
        found.peak = max(found.peak, ended.peak)
        lines = [json.loads(one) for one in results.read_text().splitlines()] if results.exists() else []
        if not lines:
            raise RuntimeError(f"the opening process did not start: {ended.tail}\n{ended.err}")
        _note(found, lines, made, left[0].parent)
        done = len({one["file"] for one in lines})
        if "ended" not in lines[-1]:
            _note_end(found, lines[-1], ended, made, left[0].parent)
        elif ended.code:
            found.shortfalls.append(f"after {lines[-1]['file']}: {ended.tail}")
        left = left[done:]
    return found


def _note(found: Found, lines: list[dict[str, str]], made: dict[Path, str], folder: Path) -> None:
    for one in lines:
        if "ended" in one:
            found.ended[f"{one['step']} {one['ended'].split(':')[0]}"] += 1
            if one["ended"].startswith("RAISED"):
                what = made[folder / one["file"]]
                found.shortfalls.append(f"{one['file']} ({what}): {one['step']} {one['ended']}")


def _note_end(
    found: Found, last: dict[str, str], ended: processes.ProcessResult, made: dict[Path, str], folder: Path
) -> None:
    """The process ended within a step: a trial catches that of `zeros`, nothing that of others."""
    name = signal.Signals(-ended.code).name if ended.code < 0 else f"exit {ended.code}"
    what = f"{last['file']} ({made[folder / last['file']]}): {last['step']} ended with {name}"
    found.ended[f"{last['step']} {name}"] += 1
    found.hangs += ended.code == -signal.SIGALRM and last["step"] != "zeros"
    if last["step"] == "zeros":
        found.crashed[last["file"]] = name
    else:
        found.shortfalls.append(what)


def small_bundle(workspace: Workspace) -> Path:
    """The tiny run's bundle with two golden photos, so that verifying takes no time."""
    bundle = workspace.folder("bundle of one") / "bundle"
    shutil.copytree(workspace.run / "bundle", bundle, ignore=shutil.ignore_patterns("preview.html"))
    path = bundle / "manifest.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["golden"] = raw["golden"][:2]
    path.write_text(json.dumps(raw), encoding="utf-8")
    return bundle


def commands(workspace: Workspace, chosen: list[Path], made: dict[Path, str]) -> Observation:
    """The files as people open them: `predict`, `inspect` and `verify` in words, whatever the file does."""
    photo = sorted((workspace.run / "golden").glob("*.png"))[0]
    shortfalls, codes, peak, hangs, crashes = [], Counter[int](), 0.0, 0, 0
    for number, path in enumerate(chosen):
        every = (["predict", path, photo], ["inspect", path], ["verify", "BUNDLE"])
        for one in every if number % 3 == 0 else every[:1]:
            is_bundle = one[0] == "verify"
            command = ["verify", model_opener.put(path, small_bundle(workspace))] if is_bundle else one
            ended = workspace.tledge(*command, timeout=120, memory=12 << 10)
            codes[ended.code] += 1
            peak, hangs, crashes = max(peak, ended.peak), hangs + ended.hung, crashes + ended.crashed
            if (
                ended.crashed
                or ended.hung
                or ended.code not in (0, 2, 3, 4)
                or "\x1b" in ended.out + ended.err
            ):
                shortfalls.append(f"{command[0]} {path.name} ({made[path]}): {ended.tail}")
    told = ", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items()))
    return Observation(
        f"{sum(codes.values())} commands ({told})", tuple(shortfalls), crashes=crashes, hangs=hangs, peak=peak
    )


def _case(kind: str, names: tuple[str, ...], full: int, reduced: int) -> Callable[[Workspace], Observation]:
    """Mutated files of a kind, all of them opened in processes of their own, some by commands."""

    def run(workspace: Workspace) -> Observation:
        sources = [workspace.run / "artifacts" / name for name in names]
        made = files(workspace, kind, sources, workspace.count(full, reduced))
        found = opened(workspace, made)
        folder = next(iter(made)).parent
        chance = workspace.chance(f"{kind} commands")
        sample = chance.sample(sorted(made), workspace.count(60, 3))
        harmful = [folder / name for name in sorted(found.crashed)[: workspace.count(100, 3)]]
        seen = commands(workspace, [*harmful, *sample], made)
        shutil.rmtree(folder)
        steps = ", ".join(f"{name} {count}" for name, count in sorted(found.ended.items()))
        caught = f"{len(found.crashed)} crash the runtime where it is tried first"
        said = f"{len(made)} files ({steps}); {caught}; {seen.summary}"
        shortfalls = (*found.shortfalls, *seen.shortfalls)
        crashes = sum("ended with SIG" in line for line in found.shortfalls) + seen.crashes
        return Observation(
            said,
            shortfalls,
            files=len(made),
            crashes=crashes,
            hangs=found.hangs + seen.hangs,
            peak=max(found.peak, seen.peak),
        )

    return run


def keras(workspace: Workspace) -> Observation:
    """Keras files, loaded as export and preview do: no code of theirs runs, and no other file is read."""
    mark = workspace.folder("keras mark") / "ran.txt"
    keras_mutations.MARK = str(mark)
    made = files(workspace, "keras", [workspace.run / "model.keras"], workspace.count(600, 36))
    found = opened(workspace, made)
    shutil.rmtree(next(iter(made)).parent)
    ran = (f"code of a file ran: {mark.read_text()!r}",) if mark.exists() else ()
    steps = ", ".join(f"{name} {count}" for name, count in sorted(found.ended.items()))
    crashes = sum("ended with SIG" in line for line in found.shortfalls)
    return Observation(
        f"{len(made)} files ({steps})",
        (*found.shortfalls, *ran),
        files=len(made),
        crashes=crashes,
        hangs=found.hangs,
        peak=found.peak,
    )


CASES: tuple[Case, ...] = (
    Case(
        "TFLite files", "every command ends in words: a crash only in the process that tries the file first",
        _case("tflite", ("tflite-int8.tflite", "tflite-fp32.tflite"), 2600, 60),
    ),
    Case(
        "ONNX files", "every command ends in words: a crash only in the process that tries the file first",
        _case("onnx", ("onnx-fp32.onnx",), 1800, 30),
    ),
    Case("Keras files", "refused in words; no code of the file runs", keras),
)  # fmt: skip
