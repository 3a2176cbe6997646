"""Bundles that were damaged, or made to do harm; run folders and packed caches are in `hostile_caches`."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tledge import runs
from torture.cases.runs_and_caches import caches, run_folders
from torture.inputs.manifests import LIES, TEXTS
from torture.inputs.zips import ZIPS, parts_of, with_entry
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.refusals import EXPECTED, judge, ordered, outside
from torture.support.workspace import Workspace

COMMANDS: dict[str, Callable[[Workspace, Path, Path], list[object]]] = {
    "predict": lambda m, path, out: ["predict", path, _photo(m)],
    "verify": lambda m, path, out: ["verify", path],
    "bundle": lambda m, path, out: ["bundle", path, "--target", "raspberry_pi", "--out", out],
    "skew": lambda m, path, out: ["verify", path, "--skew"],
    "bench": lambda m, path, out: ["bench", path, "--threads", "1", "--kernels", "reference"],
    "compare": lambda m, path, out: ["compare", m.run / "bundle", path],
}


def _photo(workspace: Workspace) -> Path:
    return sorted((workspace.run / "golden").glob("*.png"))[0]


def _tried(
    workspace: Workspace, cases: list[tuple[str, Path]], commands: list[str], folder: Path, allowed: set[int]
) -> Observation:
    """Run the commands on each path, and gather what falls short."""
    shortfalls: list[str] = []
    codes: dict[int, int] = {}
    peak, crashes, hangs = 0.0, 0, 0
    for number, (name, path) in enumerate(cases):
        for command in commands if not workspace.reduced else [commands[number % len(commands)]]:
            out = folder / f"out {number}"
            # Short memory: what is not bounded ends here as a crash.
            ended = workspace.tledge(*COMMANDS[command](workspace, path, out), timeout=60, memory=6 << 10)
            codes[ended.code] = codes.get(ended.code, 0) + 1
            peak, crashes, hangs = max(peak, ended.peak), crashes + ended.crashed, hangs + ended.hung
            if fault := judge(name, command, ended, allowed):
                shortfalls.append(fault)
            shutil.rmtree(out, ignore_errors=True)
    shortfalls += outside(folder)
    told = ", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items()))
    said = f"{len(cases)} files, {sum(codes.values())} commands ({told}), {crashes} crashes, {hangs} hangs"
    return Observation(said, tuple(shortfalls), files=len(cases), crashes=crashes, hangs=hangs, peak=peak)


UNREAD = ("nested bomb", "overlapping")
"""Harm in entries that `predict` never reads; `verify` does, and whoever unpacks."""


def zips(workspace: Workspace) -> Observation:
    """Zip files of every kind of harm."""
    folder = workspace.folder("zips") / "in"
    folder.mkdir()
    parts = parts_of(next(workspace.run.glob("*.zip")))
    cases = []
    for name, make in ordered(workspace.reduced, list(ZIPS.items()), workspace.chance("zips"), 5):
        path = folder / f"{name}.zip"
        make(path, parts)
        cases.append((name, path))
    unread = [case for case in cases if case[0] in UNREAD]
    seens = [
        _tried(workspace, [one for one in cases if one not in unread], ["predict"], folder, EXPECTED),
        _tried(workspace, unread, ["predict"], folder, EXPECTED | {0}),
        _tried(workspace, cases, ["verify", "bundle"], folder, EXPECTED),
    ]
    shutil.rmtree(folder)
    said = f"{len(cases)} files: {'; '.join(one.summary for one in seens if one.files)}"
    return replace(_together(seens, ""), summary=said, files=len(cases))


def harmless(workspace: Workspace) -> Observation:
    """Oddities that do no harm: they may be taken or refused, in words."""
    folder = workspace.folder("odd")
    whole = next(workspace.run.glob("*.zip")).read_bytes()
    made = {"prepended": b"#!/bin/sh\nexit 0\n" + whole, "appended": whole + bytes(1000), "empty": b""}
    cases = []
    for name, data in made.items():
        path = folder / f"{name}.zip"
        path.write_bytes(data)
        cases.append((name, path))
    nul = folder / "nul.zip"
    with_entry("golden/nul\0.txt")(nul, parts_of(next(workspace.run.glob("*.zip"))))
    return _tried(workspace, [*cases, ("nul", nul)], ["predict", "verify"], folder, EXPECTED | {0})


def _lying(workspace: Workspace, folder: Path, name: str) -> Path:
    """A bundle folder whose manifest says one thing that is not so."""
    bundle = Path(shutil.copytree(workspace.run / "bundle", folder / name))
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


def manifests(workspace: Workspace) -> Observation:
    """Every lie, read by predict, verify and bundle --target, every fourth by the other commands too."""
    folder = workspace.folder("manifests")
    names = ordered(workspace.reduced, [*LIES, *TEXTS], workspace.chance("manifests"), 12)
    seens = []
    for number, name in enumerate(names):
        bundle = _lying(workspace, folder, name)
        every = list(COMMANDS) if number % 4 == 0 else ["predict", "verify", "bundle"]
        for command in [every[number % 2]] if workspace.reduced else every:
            seens.append(_tried(workspace, [(name, bundle)], [command], folder, _may(command, name)))
        shutil.rmtree(bundle)
    return _together(seens, f"{len(names)} manifests")


def _may(command: str, name: str) -> set[int]:
    """How a command may end on a lie: well only where it needs nothing that the lie is about."""
    unseen = (command == "predict" and name in TAKEN) or (
        command not in ("predict", "verify") and name in TAKEN | OF_THE_MODEL
    )
    return EXPECTED | ({0, 3} if unseen else set()) | ({3, 5} if command == "verify" else set())


def _together(seens: list[Observation], what: str) -> Observation:
    crashes, hangs = sum(one.crashes for one in seens), sum(one.hangs for one in seens)
    said = f"{what}, {len(seens)} commands, {crashes} crashes, {hangs} hangs"
    shortfalls = tuple(line for one in seens for line in one.shortfalls)
    peak = max((one.peak for one in seens), default=0)
    return Observation(said, shortfalls, files=len(seens), crashes=crashes, hangs=hangs, peak=peak)


def folders(workspace: Workspace) -> Observation:
    """What only a folder can hold: links out of it, pipes, links in a circle, files of no size."""
    folder = workspace.folder("folders")
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
    for name, change in ordered(workspace.reduced, list(made.items()), workspace.chance("folders"), 5):
        bundle = Path(shutil.copytree(workspace.run / "bundle", folder / name))
        (bundle / "preview.html").unlink()
        _sums(bundle)
        change(bundle)
        if name.startswith("answers"):
            _sums(bundle)
        cases.append((name, bundle))
    seen = _tried(workspace, cases, ["verify", "predict"], folder, EXPECTED | {0, 3})
    taken = [one for one, path in cases if _verifies(workspace, path)]
    shortfalls = tuple(f"verify passed {one}" for one in taken if one not in ("folder in a circle", "pipe"))
    shutil.rmtree(folder)
    return replace(seen, shortfalls=seen.shortfalls + shortfalls)


def _verifies(workspace: Workspace, bundle: Path) -> bool:
    """True where `verify` passes the bundle."""
    return workspace.tledge("verify", bundle, timeout=60).code == 0


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


def modules(workspace: Workspace) -> Observation:
    """A bundle with Python files of the names that are imported, used from within, as its README says."""
    folder = workspace.folder("modules")
    bundle = Path(shutil.copytree(workspace.run / "bundle", folder / "bundle"))
    (bundle / "preview.html").unlink()
    mark = folder / "ran.txt"
    for name in ("numpy", "json", "tledge", "ai_edge_litert", "onnxruntime", "PIL", "sitecustomize"):
        (bundle / f"{name}.py").write_text(
            f"open({str(mark)!r}, 'a').write('{name} ran')\nraise SystemExit(9)\n"
        )
    _sums(bundle)
    script = Path(sys.executable).with_name("tledge")
    start = [script] if script.is_file() else [sys.executable, "-P", "-m", "tledge"]
    shortfalls = []
    commands = (
        ["predict", ".", "golden/" + _photo(workspace).name],
        ["verify", "."],
        ["bench", ".", "--threads", "1", "--kernels", "xnnpack"],
        ["doctor"],
    )
    commands = commands[::2] if workspace.reduced else commands
    for command in commands:
        ended = processes.run([*start, *command], workspace.env, bundle, timeout=120)
        if ended.code or mark.exists():
            ran = mark.read_text() if mark.exists() else ended.tail
            shortfalls.append(f"{command[0]} in the bundle's folder: {ran}")
            mark.unlink(missing_ok=True)
    return Observation(
        f"{len(commands)} commands from within, nothing of the bundle ran", tuple(shortfalls), files=7
    )


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
