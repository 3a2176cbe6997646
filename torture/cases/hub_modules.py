"""SavedModels and modules of TensorFlow Hub that are programs, and a module cache of another account."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from torture.inputs.hostile_saved_models import CANARY, KINDS
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

ADDRESS = "https://tfhub.dev/somebody/features/1"
MODULE = hashlib.sha1(ADDRESS.encode()).hexdigest()
"""The folder of that address in a cache."""

OTHER_ACCOUNT = 65534
"""An account that may own nothing: "nobody"."""

NO_NETWORK = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
"""Nobody listens there: a download fails at once."""


@dataclass(frozen=True)
class Trial:
    """A SavedModel to build a layer of; `code` is the exit code that it should have."""

    name: str
    handle: str
    code: int
    environment: dict[str, str] = field(default_factory=dict)


def saved_models(workspace: Workspace) -> Observation:
    """Let a recipe name SavedModels whose loading runs something, or whose network is more than one."""
    folder = workspace.folder("saved models")
    _write(workspace, folder)
    kinds = [kind for kind in KINDS if not (workspace.reduced and kind in ("python", "saver"))]
    trials = [Trial(kind, str(folder / kind), 2) for kind in kinds]
    return _tried(workspace, folder, trials, "SavedModels that are programs")


def module_caches(workspace: Workspace) -> Observation:
    """Put a module that runs into caches that another account made or may write into."""
    folder = workspace.folder("modules")
    _write(workspace, folder, "initializer")
    places = {name: folder / name for name in ("tmp/tfhub_modules", "given", "open", "mine")}
    for path in places.values():
        path.mkdir(parents=True)
        shutil.copytree(folder / "initializer", path / MODULE)
    for path in (places["open"], places["tmp/tfhub_modules"] / MODULE):
        path.chmod(0o777)
    (places["tmp/tfhub_modules"]).chmod(0o1777)
    if os.geteuid() == 0:
        for path in (places["given"], *places["given"].rglob("*"), *places["tmp/tfhub_modules"].rglob("*")):
            os.chown(path, OTHER_ACCOUNT, OTHER_ACCOUNT)
    else:
        places["given"].chmod(0o777)
    quiet = NO_NETWORK | {"TLEDGE_CACHE": str(folder / "cache")}
    trials = [
        Trial("the folder of all in /tmp", ADDRESS, 5, quiet),
        Trial("TFHUB_CACHE_DIR of another account", ADDRESS, 1, _cache(places["given"])),
        Trial("TFHUB_CACHE_DIR that all may write into", ADDRESS, 1, _cache(places["open"])),
        Trial("TFHUB_CACHE_DIR of one's own", ADDRESS, 2, _cache(places["mine"])),
        Trial("unknown host", "https://evil.example/net/1", 2, quiet),
    ]
    return _tried(workspace, folder, trials, "module caches")


def _cache(path: Path) -> dict[str, str]:
    return NO_NETWORK | {"TFHUB_CACHE_DIR": str(path)}


def _write(workspace: Workspace, folder: Path, *kinds: str) -> None:
    command = processes.python_module("torture.inputs.hostile_saved_models", folder, *kinds)
    written = processes.run(command, workspace.env, timeout=300)
    if written.code:
        raise RuntimeError(f"no SavedModels: {written.err[-2000:]}")


def _tried(workspace: Workspace, folder: Path, trials: list[Trial], what: str) -> Observation:
    """Build all in one process, whose temporary folder is `tmp`."""
    script = folder / "trials.json"
    script.write_text(json.dumps([vars(trial) for trial in trials]), encoding="utf-8")
    command = [sys.executable, "-m", "torture.workers.module_loader", script, folder / CANARY]
    (folder / "tmp").mkdir(exist_ok=True)
    environment = workspace.env | {"TMPDIR": str(folder / "tmp")}
    result = processes.run(command, environment, timeout=240, memory=24 << 10)
    lines = [line for line in result.out.splitlines() if line.startswith("[")]
    answers = [json.loads(line) for line in lines]
    shortfalls = [
        f"{trial.name}: exit {code}, expected {trial.code}: {message[:200]}"
        for trial, (code, message, _ran) in zip(trials, answers, strict=False)
        if code != trial.code
    ]
    shortfalls += [
        f"{trial.name}: it ran" for trial, answer in zip(trials, answers, strict=False) if answer[2]
    ]
    if len(answers) < len(trials):
        shortfalls.append(f"{trials[len(answers)].name}: no end, {result.tail}")
    return Observation(
        f"{len(answers)} {what}: {sum(answer[2] for answer in answers)} ran as they were loaded",
        tuple(shortfalls),
        files=len(answers),
        crashes=result.crashed,
        peak=result.peak,
    )


CASES = (
    Case("SavedModels that are programs", "refused before anything of them runs", saved_models),
    Case("module caches of others", "no module of another account is opened, nothing runs", module_caches),
)
