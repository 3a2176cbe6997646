"""Caches: packed ones that were made to do harm, and a cache folder that others can write into."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import zipfile
from pathlib import Path

from torture.cases.runs import damaged_json
from torture.inputs.zips import HOSTILE_ZIPS, Entry, read_entries, write_zip
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.refusals import escaped_files, refusal_fault, selected
from torture.support.workspace import Workspace


def packed_caches(workspace: Workspace) -> Observation:
    """Pack caches with the harm of the zips, and with false notes and indexes."""
    folder = workspace.folder("caches")
    recipe = workspace.recipe(folder)
    packed_cache = folder / "whole.zip"
    workspace.run_successfully("data", recipe, "--pack", packed_cache, "--quiet")
    rng = workspace.rng("caches")
    parts = read_entries(packed_cache)
    kinds = [
        name
        for name in HOSTILE_ZIPS
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
    names = selected(workspace.reduced, kinds, rng, 3)
    shortfalls, crashes, peak, codes = [], 0, 0.0, set()
    for number, name in enumerate(
        [*names, *["note"] * workspace.count(20, 2), *["index"] * workspace.count(20, 2)]
    ):
        path = folder / f"{number}.zip"
        if name in HOSTILE_ZIPS:
            HOSTILE_ZIPS[name](path, parts)
        else:
            write_zip(path, _false_cache(parts, name, rng))
        result = _unpack(workspace, recipe, path, folder, number)
        codes.add(result.code)
        crashes, peak = crashes + result.crashed, max(peak, result.peak)
        if fault := refusal_fault(f"{name} ({number})", "train --cache", result, {1, 2, 4, 5}):
            shortfalls.append(fault)
        path.unlink()
    shortfalls += escaped_files(folder)
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
from tledge.data import cache_archive as parcel; from tledge.recipe import loader as recipe
from tledge.errors import TledgeError
made = recipe.load(Path(sys.argv[1]))
try:
    parcel.unpack(Path(sys.argv[2]), made.data, made.model.image_size)
except TledgeError as error:
    sys.exit(print(error, file=sys.stderr) or error.exit_code)
"""
"""What `train --cache` does first, without the seconds that Keras takes."""


def _unpack(
    workspace: Workspace, recipe: Path, path: Path, folder: Path, number: int
) -> processes.ProcessResult:
    """Run `train --cache`, or in the reduced run its first step."""
    env = {"TLEDGE_CACHE": str(folder / f"cache {number}")}
    if workspace.reduced or number % 4:
        command = [sys.executable, "-c", UNPACK, recipe, path]
        return processes.run(command, {**workspace.env, **env}, timeout=120, memory=12 << 10)
    out = ["--out", folder / "run", "--force", "--quiet"]
    return workspace.tledge("train", recipe, "--cache", path, *out, env=env, timeout=120, memory=12 << 10)


def _false_cache(parts: list[Entry], kind: str, rng: random.Random) -> list[Entry]:
    """Change one value of `cache.json`, or damage an index and confirm its new hash."""
    entries = dict(enumerate(parts))
    where = {info.filename: number for number, (info, _data) in entries.items()}
    note_at, index_at = where["cache.json"], where["index.json"]
    note = json.loads(entries[note_at][1])
    if kind == "index":
        data = entries[index_at][1]
        at = rng.randrange(len(data))
        data = data[:at] + rng.choice((b"", b"\x1b[2J", b"[" * 100_000, b"-9")) + data[at + 2 :]
        note["members"]["index.json"] = [hashlib.sha256(data).hexdigest(), len(data)]
        entries[index_at] = (zipfile.ZipInfo("index.json"), data)
        text = json.dumps(note).encode()
    else:
        _name, text = damaged_json(json.dumps(note).encode(), rng)
    entries[note_at] = (zipfile.ZipInfo("cache.json"), text)
    return list(entries.values())


CASES: tuple[Case, ...] = (
    Case("packed caches", "refused in words; nothing is written outside", packed_caches),
)
