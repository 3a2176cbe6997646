"""Links and pipes in runs and in what is signed: nothing is read, written, moved or deleted through them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torture.support import command_checks, preview_server
from torture.support.observation import Observation
from torture.support.signing_keys import sign_bundle, write_keys
from torture.support.workspace import Workspace

SECRET = b"-----BEGIN OPENSSH PRIVATE KEY----- what nobody may have"

LINKED_FOLDERS = {
    "artifacts": "export",
    "logs": "export",
    "evidence": "verify",
    "golden": "bundle",
    "checkpoints": "report",
    "tensorboard": "report",
    "bundle": "bundle",
}
"""Folders in a run, and a command that deletes, moves or writes in each, or reads from it what is shipped."""

LINKED_FILES = {
    "logs/tflite-fp32.log": "export",
    "golden/00.jpg": "bundle",
    "evidence/photos.json": "inspect",
}
"""Files in a run, and a command that would write to it or put it into what is shipped."""

PIPES = {
    "run.json": ("verify", "bundle", "inspect"),
    "golden.npz": ("verify", "bench"),
    "parity.json": ("bundle", "report"),
    "artifacts/tflite-int8.json": ("verify", "inspect"),
    "artifacts/tflite-int8.tflite": ("verify", "bundle"),
    "golden/photos.json": ("bundle",),
    "bundle/manifest.json": ("bundle", "predict"),
    "bundle/tflite-int8.tflite": ("predict",),
}
"""Files in a run that a pipe takes the place of, and the commands that would open them."""


def _own_folder(path: Path) -> Path:
    """Make a folder of the user, with the names that a command of tledge cleans up, overwrites or deletes."""
    leftover = path / ".photos.tledge-0123456789abcdef"
    (leftover / "old").mkdir(parents=True)
    (leftover / "photos").write_text("moved by a sweep")
    for name in ("tflite-int8-flips.json", "tflite-fp32.tflite", "tflite-fp32.log", "stage-0.npz", "00.jpg"):
        (path / name).write_text(f"the user's own {name}")
    return path


def _state(folder: Path) -> dict[str, bytes]:
    """Read names and contents of everything below a folder, hidden files too."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return names | {str(path.relative_to(folder)): b"" for path in folder.rglob("*") if path.is_dir()}


def _replace_by_link(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


def links_in_run(workspace: Workspace) -> Observation:
    """Put a link in the place of each folder and file of a run: it is named, and its target untouched."""
    results, shortfalls = [], []
    for number, (name, command) in enumerate({**LINKED_FOLDERS, **LINKED_FILES}.items()):
        if workspace.reduced and number % 2:
            continue
        run = workspace.own_run(f"linked-{number}")
        own = _own_folder(workspace.folder(f"linked-{number}-own"))
        before = _state(own)
        _replace_by_link(run / name, own if name in LINKED_FOLDERS else own / Path(name).name)
        result = workspace.tledge(command, run, "--quiet" if command == "export" else "--json", timeout=120)
        words = ["is a symbolic link", name, "rm "]
        shortfalls += command_checks.command_faults(result, 1, words, f"{command} with {name}: ")
        if changed := sorted(
            name for name in before | _state(own) if before.get(name) != _state(own).get(name)
        ):
            shortfalls.append(f"{command} through {name}: changed {', '.join(changed[:3])} of the user's own")
        results.append(result)
    shortfalls += [] if workspace.reduced else _run_behind_link(workspace)
    return command_checks.observe(
        results, f"{len(results)} links refused by name, their targets as before", shortfalls
    )


def _run_behind_link(workspace: Workspace) -> list[str]:
    """Name a run by a link to it, as users do with folders on another disk: that works."""
    run = workspace.own_run("linked-run")
    link = run.parent / "short"
    link.symlink_to(run)
    attempts = [("verify", link), ("bundle", link), ("predict", link, run / "golden" / "00.jpg")]
    results = [workspace.tledge(*arguments, timeout=120) for arguments in attempts]
    return [f"a run named by a link: {result.tail}" for result in results if result.code]


def pipes_in_run(workspace: Workspace) -> Observation:
    """Put a pipe in the place of each file that commands open: they name it and do not wait."""
    results, shortfalls = [], []
    for number, (name, commands) in enumerate(PIPES.items()):
        if workspace.reduced and number % 2:
            continue
        run = workspace.own_run(f"pipes-{number}")
        (run / name).unlink()
        os.mkfifo(run / name)
        for command in commands[:1] if workspace.reduced else commands:
            photo = [workspace.run / "golden" / "00.jpg"] if command == "predict" else []
            result = workspace.tledge(command, run, *photo, timeout=20)
            code = result.code if result.code in (1, 2, 4) else 1
            shortfalls += command_checks.command_faults(
                result, code, ["is a pipe", name], f"{command} with {name}: "
            )
            results.append(result)
    for command in ("verify",) if workspace.reduced else ("verify", "predict"):
        packed = workspace.folder("pipes-zip") / "b.zip"
        os.mkfifo(packed)
        photo = [workspace.run / "golden" / "00.jpg"] if command == "predict" else []
        results.append(workspace.tledge(command, packed, *photo, timeout=20))
        shortfalls += command_checks.command_faults(results[-1], 4, ["is a pipe"], f"{command} of a zip: ")
    return command_checks.observe(
        results, f"{len(results)} pipes refused by name, none waited for", shortfalls
    )


def signed_links(workspace: Workspace) -> Observation:
    """Sign a run with links in artifacts and photos: nothing behind a link is packed or signed."""
    results, shortfalls = [], []
    ways: dict[str, Callable[[Path, Path], None]] = {
        "a folder in an artifact": lambda run, own: (run / "artifacts/saved_model/x").symlink_to(own),
        "a file in an artifact": lambda run, own: (run / "artifacts/saved_model/x").symlink_to(
            own / "id_ed25519"
        ),
        "an artifact": lambda run, own: _move_behind_link(run / "artifacts/saved_model", own),
        "a photo": lambda run, own: _replace_by_link(run / "golden/00.jpg", own / "00.jpg"),
        "a record that leads out": lambda run, own: None,
    }
    for number, (name, change) in enumerate(ways.items()):
        run = workspace.own_run(f"signed-links-{number}")
        own = workspace.folder(f"signed-links-{number}-own")
        (own / "id_ed25519").write_bytes(SECRET)
        shutil.copyfile(run / "golden/00.jpg", own / "00.jpg")
        private, _public = write_keys(run.parent, "own")
        shutil.rmtree(run / "bundle")
        next(run.glob("*.zip")).unlink()
        _add_saved_model(run)
        change(run, own)
        _record_as_verified(run, own if name == "a record that leads out" else Path("artifacts/saved_model"))
        env = {"PYTHONPATH": f"{_without_tensorflow(workspace)}{os.pathsep}{workspace.env['PYTHONPATH']}"}
        result = workspace.tledge("bundle", run, "--sign", private, env=env, timeout=120)
        shortfalls += command_checks.command_faults(result, 1, [str(run)], f"{name}: ")
        packed = [path for path in run.rglob("*") if path.suffix in (".zip", ".sig")]
        shortfalls += [f"{name}: signed and packed {path.name}" for path in packed]
        shortfalls += [f"{name}: the secret is in {path}" for path in _holding(SECRET, [run])]
        results.append(result)
    return command_checks.observe(results, f"{len(results)} refused, nothing signed", shortfalls)


def _add_saved_model(run: Path) -> None:
    """Add the folder of a SavedModel; what is in it does not matter, for TensorFlow is missing."""
    folder = run / "artifacts" / "saved_model"
    (folder / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (folder / name).write_bytes(name.encode())


def _record_as_verified(run: Path, path: Path) -> None:
    """Add the folder of a SavedModel to what was verified in a run, with its hash as it is now."""
    parity = run / "parity.json"
    report = json.loads(parity.read_text(encoding="utf-8"))
    row = {**report["rows"][0], "variant": "saved_model", "path": str(path), "flips": ""}
    report["rows"].append({**row, "sha256": _folder_sha256(run / path)})
    parity.write_text(json.dumps(report), encoding="utf-8")


def _folder_sha256(folder: Path) -> str:
    """Hash a folder as tledge does: names and hashes of its files, links to files followed."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _move_behind_link(artifact: Path, own: Path) -> None:
    shutil.move(artifact, own / "saved_model")
    artifact.symlink_to(own / "saved_model")


def _without_tensorflow(workspace: Workspace) -> Path:
    """Make a folder in whose presence TensorFlow does not load, as on machines without it."""
    folder = workspace.folder("without-tensorflow")
    (folder / "tensorflow.py").write_text("raise ImportError('not here')\n")
    return folder


def _holding(secret: bytes, folders: Iterable[Path]) -> list[Path]:
    """List files that hold some bytes, also inside zips; links are not followed."""
    files = [
        path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    ]
    return [path for path in files if secret in path.read_bytes() or secret in _unzipped(path)]


def _unzipped(path: Path) -> bytes:
    if path.suffix != ".zip":
        return b""
    with zipfile.ZipFile(path) as packed:
        return b"".join(packed.read(name) for name in packed.namelist())


def previews_with_key(workspace: Workspace) -> Observation:
    """Preview a signed run with the key: what the run holds beside its bundle is not signed, nor opened."""
    run, public = sign_bundle(workspace, "signed-preview")
    (run / "model.keras").write_bytes(b"not what was signed")
    shortfalls: list[str] = []
    with preview_server.running_server(workspace, run, "signed", "--key", public) as server:
        status, offered = server.request("/api/features")
        shortfalls += ["it offers models that nobody signed"] * (b"Keras" in offered)
        shortfalls += [] if status == 200 and b'"models"' in offered else ["it does not say what it offers"]
        shortfalls += _served_faults(server, run)
        shortfalls += server.faults()
    attempts: list[tuple[str, tuple[object, ...]]] = [
        ("verify", ("verify", run, "--key", public)),
        ("bundle", ("bundle", run, "--target", "web", "--key", public)),
    ]
    results = [workspace.tledge(*arguments, timeout=60) for _name, arguments in attempts]
    for (name, _arguments), result in zip(attempts, results, strict=True):
        words = ["--key", f"{run}/bundle"]
        shortfalls += command_checks.command_faults(result, 2, words, f"{name} of a run: ")
    return command_checks.observe(
        results, "the preview opens the signed bundle alone; verify and bundle name the command", shortfalls
    )


def _served_faults(server: Any, run: Path) -> list[str]:
    """List what a preview with a key serves that is not what was signed."""
    _status, answer = server.request("/bundle/tflite-int8.tflite")
    signed = (run / "bundle" / "tflite-int8.tflite").read_bytes()
    faults = [] if answer.endswith(signed) else ["it does not serve the signed model"]
    status, _answer = server.request("/api/flips")
    return faults + ["it serves flips of the run, which nobody signed"] * (status == 200)
