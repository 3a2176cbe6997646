"""Model files, mutated by bytes and by structure: opened, answered with, looked into, verified."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import child
import model_child
import model_mutations
import mutated_keras
import mutated_onnx
import mutated_tflite
from case import Case, Seen
from ground import ROOT, Ground

Mutation = Callable[[bytes, Random], tuple[str, bytes]]

BY_STRUCTURE: dict[str, Mutation] = {
    "tflite": mutated_tflite.changed,
    "onnx": mutated_onnx.changed,
    "keras": mutated_keras.changed,
}

BATCH = 200
"""Files that a process opens before the next one takes over, so that little adds up in it."""


@dataclass
class Found:
    """How the steps of all files ended; `crashed` are those that a trial is there for, by name."""

    ended: Counter[str] = field(default_factory=Counter)
    crashed: dict[str, str] = field(default_factory=dict)
    short: list[str] = field(default_factory=list)
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


def files(ground: Ground, kind: str, sources: list[Path], count: int) -> dict[Path, str]:
    """Mutated files of a kind in a folder, and how each was changed."""
    folder = ground.folder(f"mutated {kind}")
    found = {}
    for source in sources:
        chance = ground.chance(f"{kind} {source.name}")
        for name, data in mutated(kind, source.read_bytes(), chance, count // len(sources)):
            path = folder / f"{len(found):05d}{source.suffix}"
            path.write_bytes(data)
            found[path] = f"{source.name}, {name}"
    return found


def opened(ground: Ground, made: dict[Path, str], timeout: float = 1200) -> Found:
    """Let processes open the files, one that crashed followed by another from the next file on."""
    found, left = Found(), list(made)
    photo = sorted((ground.run / "golden").glob("*.png"))[0]
    bundle, results = small_bundle(ground), ground.work / "results.jsonl"
    while left:
        results.unlink(missing_ok=True)
        command = [sys.executable, ROOT / "torture" / "model_child.py", photo, bundle, results, *left[:BATCH]]
        ended = child.run(command, ground.env, timeout=timeout)
        found.peak = max(found.peak, ended.peak)
        lines = [json.loads(one) for one in results.read_text().splitlines()] if results.exists() else []
        if not lines:
            raise RuntimeError(f"the opening process did not start: {ended.tail}\n{ended.err}")
        _note(found, lines, made, left[0].parent)
        done = len({one["file"] for one in lines})
        if "ended" not in lines[-1]:
            _note_end(found, lines[-1], ended, made, left[0].parent)
        elif ended.code:
            found.short.append(f"after {lines[-1]['file']}: {ended.tail}")
        left = left[done:]
    return found


def _note(found: Found, lines: list[dict[str, str]], made: dict[Path, str], folder: Path) -> None:
    for one in lines:
        if "ended" in one:
            found.ended[f"{one['step']} {one['ended'].split(':')[0]}"] += 1
            if one["ended"].startswith("RAISED"):
                what = made[folder / one["file"]]
                found.short.append(f"{one['file']} ({what}): {one['step']} {one['ended']}")


def _note_end(
    found: Found, last: dict[str, str], ended: child.Ended, made: dict[Path, str], folder: Path
) -> None:
    """The process ended within a step: a trial catches that of `zeros`, nothing that of others."""
    name = signal.Signals(-ended.code).name if ended.code < 0 else f"exit {ended.code}"
    what = f"{last['file']} ({made[folder / last['file']]}): {last['step']} ended with {name}"
    found.ended[f"{last['step']} {name}"] += 1
    found.hangs += ended.code == -signal.SIGALRM and last["step"] != "zeros"
    if last["step"] == "zeros":
        found.crashed[last["file"]] = name
    else:
        found.short.append(what)


def small_bundle(ground: Ground) -> Path:
    """The tiny run's bundle with two golden photos, so that verifying takes no time."""
    bundle = ground.folder("bundle of one") / "bundle"
    shutil.copytree(ground.run / "bundle", bundle, ignore=shutil.ignore_patterns("preview.html"))
    path = bundle / "manifest.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["golden"] = raw["golden"][:2]
    path.write_text(json.dumps(raw), encoding="utf-8")
    return bundle


def commands(ground: Ground, chosen: list[Path], made: dict[Path, str]) -> Seen:
    """The files as people open them: `predict`, `inspect` and `verify` in words, whatever the file does."""
    photo = sorted((ground.run / "golden").glob("*.png"))[0]
    short, codes, peak, hangs, crashes = [], Counter[int](), 0.0, 0, 0
    for number, path in enumerate(chosen):
        every = (["predict", path, photo], ["inspect", path], ["verify", "BUNDLE"])
        for one in every if number % 3 == 0 else every[:1]:
            is_bundle = one[0] == "verify"
            command = ["verify", model_child.put(path, small_bundle(ground))] if is_bundle else one
            ended = ground.tledge(*command, timeout=120, memory=12 << 10)
            codes[ended.code] += 1
            peak, hangs, crashes = max(peak, ended.peak), hangs + ended.hung, crashes + ended.crashed
            if (
                ended.crashed
                or ended.hung
                or ended.code not in (0, 2, 3, 4)
                or "\x1b" in ended.out + ended.err
            ):
                short.append(f"{command[0]} {path.name} ({made[path]}): {ended.tail}")
    told = ", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items()))
    return Seen(
        f"{sum(codes.values())} commands ({told})", tuple(short), crashes=crashes, hangs=hangs, peak=peak
    )


def _case(kind: str, names: tuple[str, ...], full: int, reduced: int) -> Callable[[Ground], Seen]:
    """Mutated files of a kind, all of them opened in processes of their own, some by commands."""

    def run(ground: Ground) -> Seen:
        sources = [ground.run / "artifacts" / name for name in names]
        made = files(ground, kind, sources, ground.count(full, reduced))
        found = opened(ground, made)
        folder = next(iter(made)).parent
        chance = ground.chance(f"{kind} commands")
        sample = chance.sample(sorted(made), ground.count(60, 3))
        harmful = [folder / name for name in sorted(found.crashed)[: ground.count(100, 3)]]
        seen = commands(ground, [*harmful, *sample], made)
        shutil.rmtree(folder)
        steps = ", ".join(f"{name} {count}" for name, count in sorted(found.ended.items()))
        caught = f"{len(found.crashed)} crash the runtime where it is tried first"
        said = f"{len(made)} files ({steps}); {caught}; {seen.said}"
        short = (*found.short, *seen.short)
        crashes = sum("ended with SIG" in line for line in found.short) + seen.crashes
        return Seen(said, short, files=len(made), crashes=crashes, hangs=found.hangs + seen.hangs,
                    peak=max(found.peak, seen.peak))  # fmt: skip

    return run


def keras(ground: Ground) -> Seen:
    """Keras files, loaded as export and preview do: no code of theirs runs, and no other file is read."""
    mark = ground.folder("keras mark") / "ran.txt"
    mutated_keras.MARK = str(mark)
    made = files(ground, "keras", [ground.run / "model.keras"], ground.count(600, 36))
    found = opened(ground, made)
    shutil.rmtree(next(iter(made)).parent)
    ran = (f"code of a file ran: {mark.read_text()!r}",) if mark.exists() else ()
    steps = ", ".join(f"{name} {count}" for name, count in sorted(found.ended.items()))
    crashes = sum("ended with SIG" in line for line in found.short)
    return Seen(f"{len(made)} files ({steps})", (*found.short, *ran), files=len(made), crashes=crashes,
                hangs=found.hangs, peak=found.peak)  # fmt: skip


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
