"""Bundles and packed caches that were damaged, or made to do harm."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import child
from case import Case, Seen
from ground import Ground
from hostile_manifests import LIES, TEXTS
from hostile_zips import ZIPS, Entry, parts_of, with_entry, write

from tledge import runs

EXPECTED = {1, 2, 4}
"""Exit codes of what is refused: a photo or run that cannot be used, what is no bundle, a broken artifact."""

PEAK = 1500.0
"""MiB that no command may take on what is no whole bundle."""


def _ordered(reduced: bool, parts: list[Any], chance: random.Random, count: int) -> list[Any]:
    """All of them, or `count` that chance picks."""
    return chance.sample(parts, count) if reduced and len(parts) > count else parts


COMMANDS: dict[str, Callable[[Ground, Path, Path], list[object]]] = {
    "predict": lambda m, path, out: ["predict", path, _photo(m)],
    "verify": lambda m, path, out: ["verify", path],
    "bundle": lambda m, path, out: ["bundle", path, "--target", "raspberry_pi", "--out", out],
    "skew": lambda m, path, out: ["verify", path, "--skew"],
    "bench": lambda m, path, out: ["bench", path, "--threads", "1", "--kernels", "reference"],
    "compare": lambda m, path, out: ["compare", m.run / "bundle", path],
}


def _photo(ground: Ground) -> Path:
    return sorted((ground.run / "golden").glob("*.png"))[0]


def _judge(what: str, command: str, ended: child.Ended, allowed: set[int]) -> str:
    """Why an ended command falls short; "" where it ended well."""
    if ended.hung:
        return f"{command} {what}: hung"
    if ended.crashed:
        return f"{command} {what}: crashed, {ended.tail}"
    if ended.code not in allowed:
        return f"{command} {what}: {ended.tail}, expected one of {sorted(allowed)}"
    if "\x1b" in ended.out + ended.err:
        return f"{command} {what}: control characters came through"
    if ended.code and not ended.err.strip():
        return f"{command} {what}: exit {ended.code} without a word"
    return f"{command} {what}: {ended.peak:.0f} MiB" if ended.peak > PEAK else ""


def _outside(folder: Path) -> list[str]:
    """What was written where nothing should be."""
    places = [*folder.parent.rglob("*escaped*"), Path("/tmp/tledge-torture-escaped.txt")]
    return [f"written: {one}" for one in places if one.exists() and one.suffix == ".txt"]


def _tried(
    ground: Ground, cases: list[tuple[str, Path]], commands: list[str], folder: Path, allowed: set[int]
) -> Seen:
    """Run the commands on each path, and gather what falls short."""
    short: list[str] = []
    codes: dict[int, int] = {}
    peak, crashes, hangs = 0.0, 0, 0
    for number, (name, path) in enumerate(cases):
        for command in commands if not ground.reduced else [commands[number % len(commands)]]:
            out = folder / f"out {number}"
            # Short memory: what is not bounded ends here as a crash.
            ended = ground.tledge(*COMMANDS[command](ground, path, out), timeout=60, memory=6 << 10)
            codes[ended.code] = codes.get(ended.code, 0) + 1
            peak, crashes, hangs = max(peak, ended.peak), crashes + ended.crashed, hangs + ended.hung
            if fault := _judge(name, command, ended, allowed):
                short.append(fault)
            shutil.rmtree(out, ignore_errors=True)
    short += _outside(folder)
    told = ", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items()))
    said = f"{len(cases)} files, {sum(codes.values())} commands ({told}), {crashes} crashes, {hangs} hangs"
    return Seen(said, tuple(short), files=len(cases), crashes=crashes, hangs=hangs, peak=peak)


UNREAD = ("nested bomb", "overlapping")
"""Harm in entries that `predict` never reads; `verify` does, and whoever unpacks."""


def zips(ground: Ground) -> Seen:
    """Zip files of every kind of harm."""
    folder = ground.folder("zips") / "in"
    folder.mkdir()
    parts = parts_of(next(ground.run.glob("*.zip")))
    cases = []
    for name, make in _ordered(ground.reduced, list(ZIPS.items()), ground.chance("zips"), 5):
        path = folder / f"{name}.zip"
        make(path, parts)
        cases.append((name, path))
    unread = [case for case in cases if case[0] in UNREAD]
    seens = [
        _tried(ground, [one for one in cases if one not in unread], ["predict"], folder, EXPECTED),
        _tried(ground, unread, ["predict"], folder, EXPECTED | {0}),
        _tried(ground, cases, ["verify", "bundle"], folder, EXPECTED),
    ]
    shutil.rmtree(folder)
    said = f"{len(cases)} files: {'; '.join(one.said for one in seens if one.files)}"
    return replace(_together(seens, ""), said=said, files=len(cases))


def harmless(ground: Ground) -> Seen:
    """Oddities that do no harm: they may be taken or refused, in words."""
    folder = ground.folder("odd")
    whole = next(ground.run.glob("*.zip")).read_bytes()
    made = {"prepended": b"#!/bin/sh\nexit 0\n" + whole, "appended": whole + bytes(1000), "empty": b""}
    cases = []
    for name, data in made.items():
        path = folder / f"{name}.zip"
        path.write_bytes(data)
        cases.append((name, path))
    nul = folder / "nul.zip"
    with_entry("golden/nul\0.txt")(nul, parts_of(next(ground.run.glob("*.zip"))))
    return _tried(ground, [*cases, ("nul", nul)], ["predict", "verify"], folder, EXPECTED | {0})


def _lying(ground: Ground, folder: Path, name: str) -> Path:
    """A bundle folder whose manifest says one thing that is not so."""
    bundle = Path(shutil.copytree(ground.run / "bundle", folder / name))
    (bundle / "preview.html").unlink()
    path = bundle / "manifest.json"
    if name in TEXTS:
        path.write_bytes(TEXTS[name])
    else:
        raw = json.loads(path.read_text(encoding="utf-8"))
        LIES[name](raw)
        path.write_text(json.dumps(raw), encoding="utf-8")
    _sums(bundle)
    return bundle


def _sums(bundle: Path) -> None:
    files = sorted(one for one in bundle.rglob("*") if one.is_file() and one.name != "SHA256SUMS")
    text = "".join(f"{runs.sha256(one)}  {one.relative_to(bundle).as_posix()}\n" for one in files)
    (bundle / "SHA256SUMS").write_text(text, encoding="utf-8")


TAKEN = {
    "labels in another order",
    "label of markup",
    "photo outside",
    "answers outside",
    "row outside",
    "row negative",
    "label unknown",
    "variant unknown",
    "labels twice",
}
"""What `predict` cannot know, for it needs none of it; `verify` does."""

OF_THE_MODEL = {"hash", "one label too few", "one label too many", "another height"}
"""What only those know who open the model."""


def manifests(ground: Ground) -> Seen:
    """Every lie, read by predict, verify and bundle --target, every fourth by the other commands too."""
    folder = ground.folder("manifests")
    names = _ordered(ground.reduced, [*LIES, *TEXTS], ground.chance("manifests"), 12)
    seens = []
    for number, name in enumerate(names):
        bundle = _lying(ground, folder, name)
        every = list(COMMANDS) if number % 4 == 0 else ["predict", "verify", "bundle"]
        for command in [every[number % 2]] if ground.reduced else every:
            seens.append(_tried(ground, [(name, bundle)], [command], folder, _may(command, name)))
        shutil.rmtree(bundle)
    return _together(seens, f"{len(names)} manifests")


def _may(command: str, name: str) -> set[int]:
    """How a command may end on a lie: well only where it needs nothing that the lie is about."""
    unseen = (command == "predict" and name in TAKEN) or (
        command not in ("predict", "verify") and name in TAKEN | OF_THE_MODEL
    )
    return EXPECTED | ({0, 3} if unseen else set()) | ({3, 5} if command == "verify" else set())


def _together(seens: list[Seen], what: str) -> Seen:
    crashes, hangs = sum(one.crashes for one in seens), sum(one.hangs for one in seens)
    said = f"{what}, {len(seens)} commands, {crashes} crashes, {hangs} hangs"
    short = tuple(line for one in seens for line in one.short)
    peak = max((one.peak for one in seens), default=0)
    return Seen(said, short, files=len(seens), crashes=crashes, hangs=hangs, peak=peak)


def folders(ground: Ground) -> Seen:
    """What only a folder can hold: links out of it, pipes, links in a circle, files of no size."""
    folder = ground.folder("folders")
    made: dict[str, Callable[[Path], None]] = {
        "link": lambda b: _relink(b / "tflite-int8.tflite", "/etc/passwd"),
        "manifest a link": lambda b: _relink(b / "manifest.json", "/etc/passwd"),
        "zeros without end": lambda b: _relink(b / "manifest.json", "/dev/zero"),
        "circle": lambda b: _relink(b / "labels.txt", "labels.txt"),
        "folder in a circle": lambda b: (b / "golden" / "again").symlink_to(".."),
        "pipe": lambda b: os.mkfifo(b / "golden" / "pipe"),
        "sparse": _sparse,
        "model a folder": lambda b: (_remove(b / "tflite-int8.tflite"), (b / "tflite-int8.tflite").mkdir()),  # type: ignore[func-returns-value]
        "answers of objects": lambda b: _answers(b, "objects"),
        "answers of a huge shape": lambda b: _answers(b, "huge"),
        "answers NaN": lambda b: _answers(b, "nan"),
        "answers of another shape": lambda b: _answers(b, "shape"),
        "answers in a zip": lambda b: _answers(b, "zip"),
    }
    cases = []
    for name, change in _ordered(ground.reduced, list(made.items()), ground.chance("folders"), 5):
        bundle = Path(shutil.copytree(ground.run / "bundle", folder / name))
        (bundle / "preview.html").unlink()
        _sums(bundle)
        change(bundle)
        if name.startswith("answers"):
            _sums(bundle)
        cases.append((name, bundle))
    seen = _tried(ground, cases, ["verify", "predict"], folder, EXPECTED | {0, 3})
    taken = [one for one, path in cases if _verifies(ground, path)]
    short = tuple(f"verify passed {one}" for one in taken if one not in ("folder in a circle", "pipe"))
    shutil.rmtree(folder)
    return replace(seen, short=seen.short + short)


def _verifies(ground: Ground, bundle: Path) -> bool:
    """True where `verify` passes the bundle."""
    return ground.tledge("verify", bundle, timeout=60).code == 0


def _remove(path: Path) -> None:
    path.unlink()


def _relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _sparse(bundle: Path) -> None:
    with (bundle / "tflite-int8.tflite").open("r+b") as file:
        file.truncate(1 << 37)


def _answers(bundle: Path, kind: str) -> None:
    """The recorded answers, which numpy reads: pickled objects that would run, a shape without its data."""
    import numpy as np

    path = bundle / "golden" / "tflite-int8.xnnpack.npy"
    found = np.load(path, allow_pickle=False)
    if kind == "objects":
        np.save(path, np.array([_Harm(str(bundle.parent / "escaped.txt"))], object), allow_pickle=True)
    elif kind == "huge":
        head = b"\x93NUMPY\x01\x00"
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999), }".ljust(117) + b"\n"
        path.write_bytes(head + struct.pack("<H", len(text)) + text)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("a.npy", b"x")
    else:
        np.save(path, found * np.float32(np.nan) if kind == "nan" else found[:, :1])


class _Harm:
    """What writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (open, (self._path, "w"))


def modules(ground: Ground) -> Seen:
    """A bundle with Python files of the names that are imported, used from within, as its README says."""
    folder = ground.folder("modules")
    bundle = Path(shutil.copytree(ground.run / "bundle", folder / "bundle"))
    (bundle / "preview.html").unlink()
    mark = folder / "ran.txt"
    for name in ("numpy", "json", "tledge", "ai_edge_litert", "onnxruntime", "PIL", "sitecustomize"):
        (bundle / f"{name}.py").write_text(
            f"open({str(mark)!r}, 'a').write('{name} ran')\nraise SystemExit(9)\n"
        )
    _sums(bundle)
    script = Path(sys.executable).with_name("tledge")
    start = [script] if script.is_file() else [sys.executable, "-P", "-m", "tledge"]
    short = []
    commands = (
        ["predict", ".", "golden/" + _photo(ground).name],
        ["verify", "."],
        ["bench", ".", "--threads", "1", "--kernels", "xnnpack"],
        ["doctor"],
    )
    commands = commands[::2] if ground.reduced else commands
    for command in commands:
        ended = child.run([*start, *command], ground.env, bundle, timeout=120)
        if ended.code or mark.exists():
            ran = mark.read_text() if mark.exists() else ended.tail
            short.append(f"{command[0]} in the bundle's folder: {ran}")
            mark.unlink(missing_ok=True)
    return Seen(f"{len(commands)} commands from within, nothing of the bundle ran", tuple(short), files=7)


def run_folders(ground: Ground) -> Seen:
    """A run's own JSON, damaged by chance: its commands may fail, in words."""
    chance = ground.chance("run folders")
    run = ground.own_run("damaged")
    shutil.rmtree(run / "bundle")
    short: list[str] = []
    count = ground.count(60, 5)
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
        ended = ground.tledge(*command, timeout=120)
        crashes, peak = crashes + ended.crashed, max(peak, ended.peak)
        if fault := _judge(f"{path.name} {name} ({number})", str(command[0]), ended, {0, 1, 2, 3, 4, 5}):
            short.append(fault)
        path.write_bytes(whole)
    return Seen(
        f"{count} damaged files, {crashes} crashes", tuple(short), files=count, crashes=crashes, peak=peak
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


def caches(ground: Ground) -> Seen:
    """Packed caches: the harm of the zips, and notes and indexes that lie."""
    folder = ground.folder("caches")
    recipe = ground.recipe(folder)
    whole = folder / "whole.zip"
    ground.done("data", recipe, "--pack", whole, "--quiet")
    chance = ground.chance("caches")
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
    names = _ordered(ground.reduced, kinds, chance, 3)
    short, crashes, peak, codes = [], 0, 0.0, set()
    for number, name in enumerate(
        [*names, *["note"] * ground.count(20, 2), *["index"] * ground.count(20, 2)]
    ):
        path = folder / f"{number}.zip"
        if name in ZIPS:
            ZIPS[name](path, parts)
        else:
            write(path, _lying_cache(parts, name, chance))
        ended = _unpacked(ground, recipe, path, folder, number)
        codes.add(ended.code)
        crashes, peak = crashes + ended.crashed, max(peak, ended.peak)
        if fault := _judge(f"{name} ({number})", "train --cache", ended, {1, 2, 4, 5}):
            short.append(fault)
        path.unlink()
    short += _outside(folder)
    return Seen(
        f"{number + 1} packed caches, exit codes {sorted(codes)}, {crashes} crashes",
        tuple(short),
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


def _unpacked(ground: Ground, recipe: Path, path: Path, folder: Path, number: int) -> child.Ended:
    """How `train --cache` ended, or where minutes count its first step."""
    env = {"TLEDGE_CACHE": str(folder / f"cache {number}")}
    if ground.reduced or number % 4:
        command = [sys.executable, "-c", UNPACK, recipe, path]
        return child.run(command, {**ground.env, **env}, timeout=120, memory=12 << 10)
    out = ["--out", folder / "run", "--force", "--quiet"]
    return ground.tledge("train", recipe, "--cache", path, *out, env=env, timeout=120, memory=12 << 10)


def _lying_cache(parts: list[Entry], kind: str, chance: random.Random) -> list[Entry]:
    """`cache.json` with one value changed, or an index of damage whose hash the note confirms."""
    import hashlib

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


CASES: tuple[Case, ...] = (
    Case(
        "zip files",
        "refused with exit 4, 2 or 1, in words; nothing is written outside, memory is bounded",
        zips,
    ),
    Case("odd zip files", "taken or refused in words", harmless),
    Case("manifests that lie", "refused in words; no control character reaches the terminal", manifests),
    Case("folders", "no link leads out, no pipe waits, no pickle runs; verify passes none", folders),
    Case("modules in a bundle", "no Python file of a bundle runs when tledge works in its folder", modules),
    Case("damaged run folders", "in words, no traceback", run_folders),
    Case("packed caches", "refused in words; nothing is written outside", caches),
)
