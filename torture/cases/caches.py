"""Caches: malicious packed ones, and a cache folder that others can write into."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tledge.data import cache_index
from torture.cases.runs import damaged_json
from torture.inputs.zips import HOSTILE_ZIPS, Entry, read_entries, write_zip
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.refusals import escaped_files, refusal_fault, selected
from torture.support.workspace import Workspace

OTHER_ACCOUNT = 65534
"""An account that may own nothing: "nobody"."""


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


def caches_of_others(workspace: Workspace) -> Observation:
    """Exchange the labels of prepared photos, in caches that another account made or may change."""
    folder = workspace.folder("caches of others")
    recipe = workspace.recipe(folder, train=120)
    first = workspace.tledge(
        "data", recipe, "--quiet", cwd=folder, env={"TLEDGE_CACHE": str(folder / "made")}
    )
    if first.code:
        raise RuntimeError(f"no cache: {first.tail}")
    names = list(CHANGES)[:: 3 if workspace.reduced else 1]
    faults = [
        _used(workspace, recipe, Path(shutil.copytree(folder / "made", folder / name)), name)
        for name in names
    ]
    return Observation(
        f"{len(names)} caches with exchanged labels: {sum(map(bool, faults))} used",
        tuple(filter(None, faults)),
        files=len(names),
    )


def _used(workspace: Workspace, recipe: Path, root: Path, name: str) -> str:
    """Return how a changed cache was used, or how nothing was said of it; "" where all is well."""
    (entry,) = [path for path in root.iterdir() if path.is_dir()]
    before = _labels(entry)
    _exchange_labels(entry)
    is_refused = CHANGES[name](entry)
    result = workspace.tledge("data", recipe, cwd=root, env={"TLEDGE_CACHE": str(root)})
    words = "may be changed by other accounts" if os.geteuid() or "open" in name else "belongs to"
    if result.code != int(is_refused) or words not in result.err:
        return f"{name}: {result.tail}, expected exit {int(is_refused)} and {words!r}"
    if not is_refused and _labels(entry) != before:
        return f"{name}: the photos have exchanged labels"
    return ""


def _labels(entry: Path) -> list[str]:
    _header, rows = cache_index.read(entry / "index.json")
    return [row.label for row in rows]


def _exchange_labels(entry: Path) -> None:
    """Write an index whose hash is right, and whose labels are each the next one."""
    header, rows = cache_index.read(entry / "index.json")
    following = dict(zip(header.labels, (*header.labels[1:], header.labels[0]), strict=True))
    lines = [cache_index.row_line(replace(row, label=following[row.label])) for row in rows]
    cache_index.write(entry / "index.json", header, lines)


def _give_away(entry: Path) -> bool:
    """Let an entry in a folder of all be another account's; without root, let all change it."""
    entry.parent.chmod(0o1777)
    for path in (entry, *entry.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, OTHER_ACCOUNT, OTHER_ACCOUNT)
        else:
            path.chmod(0o777)
    return False


def _open_to_all(entry: Path) -> bool:
    entry.chmod(0o755)
    (entry / "index.json").chmod(0o666)
    return False


def _half_made(entry: Path) -> bool:
    """Leave it as a command that was killed would, for the next one to complete."""
    entry.rename(entry.with_name(f".{entry.name}.partial"))
    return _give_away(entry.with_name(f".{entry.name}.partial"))


def _open_parent(entry: Path) -> bool:
    entry.parent.chmod(0o777)
    return True


CHANGES: dict[str, Callable[[Path], bool]] = {
    "another account's": _give_away,
    "another account's, half made": _half_made,
    "open to all": _open_to_all,
    "in a folder open to all": _open_parent,
}
"""What is done to a cache; returns whether it must be refused, and not made again."""


def private_photos(workspace: Workspace) -> Observation:
    """Prepare photos under the usual umask, and look who may read them."""
    folder = workspace.folder("private")
    recipe, env = workspace.recipe(folder, train=120), {"TLEDGE_CACHE": str(folder / "a" / "cache")}
    workspace.tledge("data", recipe, "--quiet", cwd=folder, env=env)
    found = [folder / "a", *(folder / "a").rglob("*")]
    is_open = {path: bool(path.stat().st_mode & 0o77) for path in found}
    readable = [path for path in found if all(is_open.get(place, True) for place in (path, *path.parents))]
    return Observation(
        f"{len(found)} files and folders, {len(readable)} open",
        tuple(f"{path.relative_to(folder)}: {path.stat().st_mode & 0o777:o}" for path in readable),
        files=len(found),
    )


def cut_while_training(workspace: Workspace) -> Observation:
    """Cut the pixels to half while a network trains on them."""
    folder = workspace.folder("cut while training")
    recipe = workspace.recipe(folder, train=240, epochs=200)
    env, run = {"TLEDGE_CACHE": str(folder / "cache")}, folder / "run"
    finished = threading.Event()

    def cut() -> None:
        while not finished.wait(0.05):
            if any((run / "checkpoints").glob("*")):
                for path in (folder / "cache").glob("[!.]*/images.npy"):
                    os.truncate(path, path.stat().st_size // 2)
                return

    thread = threading.Thread(target=cut)
    thread.start()
    options = ["--set", "model.image_size=160", "--out", run, "--quiet"]
    result = workspace.tledge("train", recipe, *options, cwd=folder, env=env, timeout=180)
    finished.set()
    thread.join()
    is_told = result.code == 1 and "images.npy" in result.err and "cut" in result.err
    fault = "" if is_told and not result.crashed else f"{result.tail}, expected exit 1 and the file's name"
    return Observation(result.tail[:90], (fault,) if fault else (), crashes=result.crashed, peak=result.peak)


CASES: tuple[Case, ...] = (
    Case("packed caches", "refused in words; nothing is written outside", packed_caches),
    Case("caches of others", "what others could have changed is made again or refused", caches_of_others),
    Case("private photos", "nobody else may read prepared photos", private_photos),
    Case("cut while training", "exit 1, and the cut file is named", cut_while_training, reduced=False),
)
