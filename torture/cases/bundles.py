"""Bundles that are damaged or malicious."""

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

from tledge._io import files as io_files
from torture.inputs.manifests import FALSE_MANIFESTS, MANIFEST_TEXTS
from torture.inputs.zips import HOSTILE_ZIPS, read_entries, with_entry
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.refusals import REFUSAL_CODES, escaped_files, refusal_fault, selected
from torture.support.workspace import Workspace

COMMANDS: dict[str, Callable[[Workspace, Path, Path], list[object]]] = {
    "predict": lambda workspace, path, out: ["predict", path, _golden_photo(workspace)],
    "verify": lambda workspace, path, out: ["verify", path],
    "bundle": lambda workspace, path, out: ["bundle", path, "--target", "raspberry_pi", "--out", out],
    "skew": lambda workspace, path, out: ["verify", path, "--skew"],
    "bench": lambda workspace, path, out: ["bench", path, "--threads", "1", "--kernels", "reference"],
    "compare": lambda workspace, path, out: ["compare", workspace.run / "bundle", path],
}


def _golden_photo(workspace: Workspace) -> Path:
    return sorted((workspace.run / "golden").glob("*.png"))[0]


def _try_commands(
    workspace: Workspace, cases: list[tuple[str, Path]], commands: list[str], folder: Path, allowed: set[int]
) -> Observation:
    """Run the commands on each path, and collect what falls short."""
    shortfalls: list[str] = []
    codes: dict[int, int] = {}
    peak, crashes, hangs = 0.0, 0, 0
    for number, (name, path) in enumerate(cases):
        for command in commands if not workspace.reduced else [commands[number % len(commands)]]:
            out = folder / f"out {number}"
            # Short memory: what is not bounded ends here as a crash.
            result = workspace.tledge(*COMMANDS[command](workspace, path, out), timeout=60, memory=6 << 10)
            codes[result.code] = codes.get(result.code, 0) + 1
            peak, crashes, hangs = max(peak, result.peak), crashes + result.crashed, hangs + result.hung
            if fault := refusal_fault(name, command, result, allowed):
                shortfalls.append(fault)
            shutil.rmtree(out, ignore_errors=True)
    shortfalls += escaped_files(folder)
    exit_codes = ", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items()))
    summary = (
        f"{len(cases)} files, {sum(codes.values())} commands ({exit_codes}), {crashes} crashes, {hangs} hangs"
    )
    return Observation(summary, tuple(shortfalls), files=len(cases), crashes=crashes, hangs=hangs, peak=peak)


UNREAD_BY_PREDICT = ("nested bomb", "overlapping")
"""Harm in entries that `predict` never reads; `verify` does, and whoever unpacks."""


def hostile_zip_files(workspace: Workspace) -> Observation:
    """Try zip files of every kind of harm."""
    folder = workspace.folder("zips") / "in"
    folder.mkdir()
    parts = read_entries(next(workspace.run.glob("*.zip")))
    cases = []
    for name, make in selected(workspace.reduced, list(HOSTILE_ZIPS.items()), workspace.rng("zips"), 5):
        path = folder / f"{name}.zip"
        make(path, parts)
        cases.append((name, path))
    unread = [case for case in cases if case[0] in UNREAD_BY_PREDICT]
    seens = [
        _try_commands(
            workspace, [case for case in cases if case not in unread], ["predict"], folder, REFUSAL_CODES
        ),
        _try_commands(workspace, unread, ["predict"], folder, REFUSAL_CODES | {0}),
        _try_commands(workspace, cases, ["verify", "bundle"], folder, REFUSAL_CODES),
    ]
    shutil.rmtree(folder)
    summary = (
        f"{len(cases)} files: {'; '.join(observation.summary for observation in seens if observation.files)}"
    )
    return replace(_combine(seens, ""), summary=summary, files=len(cases))


def odd_zip_files(workspace: Workspace) -> Observation:
    """Try oddities that do no harm: they may be accepted, or refused in words."""
    folder = workspace.folder("odd")
    good_zip = next(workspace.run.glob("*.zip")).read_bytes()
    odd_zips = {
        "prepended": b"#!/bin/sh\nexit 0\n" + good_zip,
        "appended": good_zip + bytes(1000),
        "empty": b"",
    }
    cases = []
    for name, data in odd_zips.items():
        path = folder / f"{name}.zip"
        path.write_bytes(data)
        cases.append((name, path))
    nul = folder / "nul.zip"
    with_entry("golden/nul\0.txt")(nul, read_entries(next(workspace.run.glob("*.zip"))))
    return _try_commands(
        workspace, [*cases, ("nul", nul)], ["predict", "verify"], folder, REFUSAL_CODES | {0}
    )


def _bundle_with_false_manifest(workspace: Workspace, folder: Path, name: str) -> Path:
    """Copy the bundle, with one false statement in its manifest."""
    bundle = Path(shutil.copytree(workspace.run / "bundle", folder / name))
    (bundle / "preview.html").unlink()
    path = bundle / "manifest.json"
    if name in MANIFEST_TEXTS:
        path.write_bytes(MANIFEST_TEXTS[name])
    else:
        raw = json.loads(path.read_text(encoding="utf-8"))
        FALSE_MANIFESTS[name](raw)
        path.write_text(json.dumps(raw), encoding="utf-8")
    _write_sums(bundle)
    return bundle


def _write_sums(bundle: Path) -> None:
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    text = "".join(f"{io_files.sha256(path)}  {path.relative_to(bundle).as_posix()}\n" for path in files)
    (bundle / "SHA256SUMS").write_text(text, encoding="utf-8")


UNCHECKED_BY_PREDICT = {
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

CHECKED_WITH_THE_MODEL = {"hash", "one label too few", "one label too many", "another height"}
"""What only those know who open the model."""


def false_manifests(workspace: Workspace) -> Observation:
    """Read every false manifest by predict, verify and bundle --target, every fourth by all commands."""
    folder = workspace.folder("manifests")
    names = selected(workspace.reduced, [*FALSE_MANIFESTS, *MANIFEST_TEXTS], workspace.rng("manifests"), 12)
    seens = []
    for number, name in enumerate(names):
        bundle = _bundle_with_false_manifest(workspace, folder, name)
        every = list(COMMANDS) if number % 4 == 0 else ["predict", "verify", "bundle"]
        for command in [every[number % 2]] if workspace.reduced else every:
            seens.append(
                _try_commands(workspace, [(name, bundle)], [command], folder, _allowed_codes(command, name))
            )
        shutil.rmtree(bundle)
    return _combine(seens, f"{len(names)} manifests")


def _allowed_codes(command: str, name: str) -> set[int]:
    """Return the exit codes that a command may end with: 0 only where it needs nothing that is false."""
    unseen = (command == "predict" and name in UNCHECKED_BY_PREDICT) or (
        command not in ("predict", "verify") and name in UNCHECKED_BY_PREDICT | CHECKED_WITH_THE_MODEL
    )
    return REFUSAL_CODES | ({0, 3} if unseen else set()) | ({3, 5} if command == "verify" else set())


def _combine(seens: list[Observation], subject: str) -> Observation:
    crashes, hangs = (
        sum(observation.crashes for observation in seens),
        sum(observation.hangs for observation in seens),
    )
    summary = f"{subject}, {len(seens)} commands, {crashes} crashes, {hangs} hangs"
    shortfalls = tuple(line for observation in seens for line in observation.shortfalls)
    peak = max((observation.peak for observation in seens), default=0)
    return Observation(summary, shortfalls, files=len(seens), crashes=crashes, hangs=hangs, peak=peak)


def hostile_folders(workspace: Workspace) -> Observation:
    """Try what only a folder can hold: links out of it, pipes, links in a circle, files of no size."""
    folder = workspace.folder("folders")
    changes: dict[str, Callable[[Path], None]] = {
        "link": lambda b: _replace_by_link(b / "tflite-int8.tflite", "/etc/passwd"),
        "manifest a link": lambda b: _replace_by_link(b / "manifest.json", "/etc/passwd"),
        "zeros without end": lambda b: _replace_by_link(b / "manifest.json", "/dev/zero"),
        "circle": lambda b: _replace_by_link(b / "labels.txt", "labels.txt"),
        "folder in a circle": lambda b: (b / "golden" / "again").symlink_to(".."),
        "pipe": lambda b: os.mkfifo(b / "golden" / "pipe"),
        "sparse": _make_huge,
        "model a folder": lambda b: (_remove(b / "tflite-int8.tflite"), (b / "tflite-int8.tflite").mkdir()),  # type: ignore[func-returns-value]
        "answers of objects": lambda b: _damage_recorded_predictions(b, "objects"),
        "answers of a huge shape": lambda b: _damage_recorded_predictions(b, "huge"),
        "answers NaN": lambda b: _damage_recorded_predictions(b, "nan"),
        "answers of another shape": lambda b: _damage_recorded_predictions(b, "shape"),
        "answers in a zip": lambda b: _damage_recorded_predictions(b, "zip"),
    }
    cases = []
    for name, change in selected(workspace.reduced, list(changes.items()), workspace.rng("folders"), 5):
        bundle = Path(shutil.copytree(workspace.run / "bundle", folder / name))
        (bundle / "preview.html").unlink()
        _write_sums(bundle)
        change(bundle)
        if name.startswith("answers"):
            _write_sums(bundle)
        cases.append((name, bundle))
    observation = _try_commands(workspace, cases, ["verify", "predict"], folder, REFUSAL_CODES | {0, 3})
    accepted = [name for name, path in cases if _verifies(workspace, path)]
    shortfalls = tuple(f"verify passed {name}" for name in accepted)
    shutil.rmtree(folder)
    return replace(observation, shortfalls=observation.shortfalls + shortfalls)


def _verifies(workspace: Workspace, bundle: Path) -> bool:
    """Check whether `verify` passes the bundle."""
    return workspace.tledge("verify", bundle, timeout=60).code == 0


def _remove(path: Path) -> None:
    path.unlink()


def _replace_by_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _make_huge(bundle: Path) -> None:
    with (bundle / "tflite-int8.tflite").open("r+b") as file:
        file.truncate(1 << 37)


def _damage_recorded_predictions(bundle: Path, kind: str) -> None:
    """Replace the recorded predictions: pickled objects that would run, a shape without its data."""
    import numpy as np

    path = bundle / "golden" / "tflite-int8.xnnpack.npy"
    recorded = np.load(path, allow_pickle=False)
    if kind == "objects":
        np.save(
            path,
            np.array([_WritesWhenUnpickled(str(bundle.parent / "escaped.txt"))], object),
            allow_pickle=True,
        )
    elif kind == "huge":
        head = b"\x93NUMPY\x01\x00"
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999), }".ljust(117) + b"\n"
        path.write_bytes(head + struct.pack("<H", len(text)) + text)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("a.npy", b"x")
    else:
        np.save(path, recorded * np.float32(np.nan) if kind == "nan" else recorded[:, :1])


class _WritesWhenUnpickled:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (open, (self._path, "w"))


def python_modules_in_bundle(workspace: Workspace) -> Observation:
    """Work inside a bundle that has Python files with the names of imported modules."""
    folder = workspace.folder("modules")
    bundle = Path(shutil.copytree(workspace.run / "bundle", folder / "bundle"))
    (bundle / "preview.html").unlink()
    mark = folder / "ran.txt"
    for name in ("numpy", "json", "tledge", "ai_edge_litert", "onnxruntime", "PIL", "sitecustomize"):
        (bundle / f"{name}.py").write_text(
            f"open({str(mark)!r}, 'a').write('{name} ran')\nraise SystemExit(9)\n"
        )
    _write_sums(bundle)
    script = Path(sys.executable).with_name("tledge")
    start = [script] if script.is_file() else [sys.executable, "-P", "-m", "tledge"]
    shortfalls = []
    commands = (
        ["predict", ".", "golden/" + _golden_photo(workspace).name],
        ["verify", "."],
        ["bench", ".", "--threads", "1", "--kernels", "xnnpack"],
        ["doctor"],
    )
    commands = commands[::2] if workspace.reduced else commands
    for command in commands:
        result = processes.run([*start, *command], workspace.env, bundle, timeout=120)
        if result.code or mark.exists():
            ran = mark.read_text() if mark.exists() else result.tail
            shortfalls.append(f"{command[0]} in the bundle's folder: {ran}")
            mark.unlink(missing_ok=True)
    return Observation(
        f"{len(commands)} commands from within, nothing of the bundle ran", tuple(shortfalls), files=7
    )


CASES: tuple[Case, ...] = (
    Case(
        "zip files",
        "refused with exit 4, 2 or 1, in words; nothing is written outside, memory is bounded",
        hostile_zip_files,
    ),
    Case("odd zip files", "taken or refused in words", odd_zip_files),
    Case(
        "manifests that lie", "refused in words; no control character reaches the terminal", false_manifests
    ),
    Case("folders", "no link leads out, no pipe waits, no pickle runs; verify passes none", hostile_folders),
    Case(
        "modules in a bundle",
        "no Python file of a bundle runs when tledge works in its folder",
        python_modules_in_bundle,
    ),
)
