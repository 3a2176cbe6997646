"""Run folders and packed caches, damaged by chance or made to do harm."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torture.inputs.zips import ZIPS, Entry, parts_of, write
from torture.support import processes
from torture.support.observation import Observation
from torture.support.refusals import judge, ordered, outside
from torture.support.workspace import Workspace


def run_folders(workspace: Workspace) -> Observation:
    """A run's own JSON, damaged by chance: its commands may fail, in words."""
    chance = workspace.chance("run folders")
    run = workspace.own_run("damaged")
    shutil.rmtree(run / "bundle")
    shortfalls: list[str] = []
    count = workspace.count(60, 5)
    crashes, peak = 0, 0.0
    for number in range(count):
        path = run / chance.choice(
            (
                "run.json",
                "parity.json",
                "artifacts/tflite-int8.json",
                "golden/photos.json",
                "calibration.json",
                "evidence/risk_coverage.json",
            )
        )
        whole = path.read_bytes()
        name, damaged = _damaged_json(whole, chance)
        path.write_bytes(damaged)
        command = chance.choice((["inspect", run], ["report", run], ["verify", run], ["bundle", run]))
        ended = workspace.tledge(*command, timeout=120)
        crashes, peak = crashes + ended.crashed, max(peak, ended.peak)
        if fault := judge(f"{path.name} {name} ({number})", str(command[0]), ended, {0, 1, 2, 3, 4, 5}):
            shortfalls.append(fault)
        path.write_bytes(whole)
    return Observation(
        f"{count} damaged files, {crashes} crashes",
        tuple(shortfalls),
        files=count,
        crashes=crashes,
        peak=peak,
    )


def _damaged_json(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """JSON with one value replaced, or bytes of it changed."""
    kind = chance.choice(("value", "value", "value", "cut", "bytes", "deep"))
    if kind == "cut":
        return kind, whole[: chance.randrange(len(whole))]
    if kind == "deep":
        return kind, b"[" * 100_000
    if kind == "bytes":
        at = chance.randrange(len(whole))
        return kind, whole[:at] + chance.randbytes(3) + whole[at + 3 :]
    raw = json.loads(whole)
    place, key = chance.choice(list(_places(raw)))
    value = chance.choice(
        (None, -1, 10**30, 1.5, "text", "\x1b[2J", [], {}, [1], True, float("nan"), "../../x")
    )
    place[key] = value
    return f"{key} = {value!r}", json.dumps(raw).encode()


def _places(raw: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested JSON that a value stands in."""
    for key in raw if isinstance(raw, dict) else range(len(raw)) if isinstance(raw, list) else ():
        yield raw, key
        yield from _places(raw[key])


def caches(workspace: Workspace) -> Observation:
    """Packed caches: the harm of the zips, and notes and indexes that lie."""
    folder = workspace.folder("caches")
    recipe = workspace.recipe(folder)
    whole = folder / "whole.zip"
    workspace.done("data", recipe, "--pack", whole, "--quiet")
    chance = workspace.chance("caches")
    parts = parts_of(whole)
    kinds = [
        name
        for name in ZIPS
        if name
        not in (
            "cut at the end",
            "size small",
            "size large",
            "encrypted",
            "compression",
            "letter case",
            "file and folder",
            "link over the model",
        )
    ]
    names = ordered(workspace.reduced, kinds, chance, 3)
    shortfalls, crashes, peak, codes = [], 0, 0.0, set()
    for number, name in enumerate(
        [*names, *["note"] * workspace.count(20, 2), *["index"] * workspace.count(20, 2)]
    ):
        path = folder / f"{number}.zip"
        if name in ZIPS:
            ZIPS[name](path, parts)
        else:
            write(path, _lying_cache(parts, name, chance))
        ended = _unpacked(workspace, recipe, path, folder, number)
        codes.add(ended.code)
        crashes, peak = crashes + ended.crashed, max(peak, ended.peak)
        if fault := judge(f"{name} ({number})", "train --cache", ended, {1, 2, 4, 5}):
            shortfalls.append(fault)
        path.unlink()
    shortfalls += outside(folder)
    return Observation(
        f"{number + 1} packed caches, exit codes {sorted(codes)}, {crashes} crashes",
        tuple(shortfalls),
        files=number + 1,
        crashes=crashes,
        peak=peak,
    )


UNPACK = """
import sys
from pathlib import Path
from tledge import parcel, recipe
from tledge.errors import TledgeError
made = recipe.load(Path(sys.argv[1]))
try:
    parcel.unpack(Path(sys.argv[2]), made.data, made.model.image_size)
except TledgeError as error:
    sys.exit(print(error, file=sys.stderr) or error.exit_code)
"""
"""What `train --cache` does first, without the seconds that Keras takes."""


def _unpacked(
    workspace: Workspace, recipe: Path, path: Path, folder: Path, number: int
) -> processes.ProcessResult:
    """How `train --cache` ended, or where minutes count its first step."""
    env = {"TLEDGE_CACHE": str(folder / f"cache {number}")}
    if workspace.reduced or number % 4:
        command = [sys.executable, "-c", UNPACK, recipe, path]
        return processes.run(command, {**workspace.env, **env}, timeout=120, memory=12 << 10)
    out = ["--out", folder / "run", "--force", "--quiet"]
    return workspace.tledge("train", recipe, "--cache", path, *out, env=env, timeout=120, memory=12 << 10)


def _lying_cache(parts: list[Entry], kind: str, chance: random.Random) -> list[Entry]:
    """`cache.json` with one value changed, or an index of damage whose hash the note confirms."""
    made = dict(enumerate(parts))
    where = {entry.filename: number for number, entry in made.items() for entry in [entry[0]]}
    note_at, index_at = where["cache.json"], where["index.json"]
    note = json.loads(made[note_at][1])
    if kind == "index":
        data = made[index_at][1]
        at = chance.randrange(len(data))
        data = data[:at] + chance.choice((b"", b"\x1b[2J", b"[" * 100_000, b"-9")) + data[at + 2 :]
        note["members"]["index.json"] = [hashlib.sha256(data).hexdigest(), len(data)]
        made[index_at] = (zipfile.ZipInfo("index.json"), data)
        text = json.dumps(note).encode()
    else:
        _name, text = _damaged_json(json.dumps(note).encode(), chance)
    made[note_at] = (zipfile.ZipInfo("cache.json"), text)
    return list(made.values())
