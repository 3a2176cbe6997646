"""What can be done here: packages beside the tested set, GPUs, disk, memory, and every variant.

Which variants can be made and opened follows from what their formats say they need. A package
counts as there where it is found and, for those with large native libraries, where it loads in a
process of its own: one that is installed and broken is told from one that is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tledge._io import resources
from tledge._process import subprocesses
from tledge._process.optional_imports import Needs, install_command
from tledge._version import __version__
from tledge.bundle import signing
from tledge.data.cache import cache_root
from tledge.environment import machine
from tledge.environment.machine import Machine
from tledge.formats.base import Variant
from tledge.formats.registry import VARIANTS
from tledge.progress import SILENT, Progress, start_task
from tledge.training.loggers import mlflow_logger

PROBED = ("tensorflow", "jax", "ai_edge_litert", "onnxruntime")
"""What is loaded, each in a process of its own, because being installed does not mean that it loads."""

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
"""Keras' backends that tledge trains with."""

PATIENCE = 60.0
"""Seconds that a library may take to load; a small board needs half a minute for TensorFlow."""

TASKS = {
    "train with TensorFlow": Needs(("keras", "matplotlib", "tensorflow"), install_command("train")),
    "train with JAX": Needs(("h5py", "jax", "keras", "matplotlib"), install_command("jax")),
    "photos of TensorFlow Datasets": Needs(("tensorflow", "tensorflow_datasets"), install_command("train")),
    "backbones of TensorFlow Hub": Needs(("tensorflow", "tensorflow_hub"), install_command("hub")),
    "HEIC photos": Needs(("pillow_heif",), install_command("heic")),
    "arena on microcontrollers": Needs(("tflite_micro",), install_command("microcontroller")),
    "estimates for Ethos-U": Needs(("ethosu",), install_command("microcontroller")),
    "sign bundles, check signatures": signing.NEEDS,
    "look at tensorboard/": Needs(("tensorboard",), "pip install tensorboard"),
    "tell MLflow": mlflow_logger.NEEDS,
}
"""What tledge does beside the variants, and what that takes."""


@dataclass(frozen=True)
class Ability:
    """Whether a thing can be done here; else the modules that are missing or broken, and what to type."""

    possible: bool
    missing: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class VariantHere:
    """Whether a variant can be made from a run, opened to answer photos, and looked into to verify it."""

    variant: str
    summary: str
    made: Ability
    opened: Ability
    inspected: Ability


@dataclass(frozen=True)
class Package:
    """An installed package, and the version that tledge was tested with."""

    name: str
    version: str
    tested: str


@dataclass(frozen=True)
class Backend:
    """A backend of training: its version ("" where it is not installed) and the GPUs that it sees.

    `trouble` says why it does not load or does not tell.
    """

    name: str
    version: str
    gpus: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Disk:
    """Free and all MiB of the disk that holds, or would hold, a folder."""

    what: str
    path: str
    free_mib: int
    total_mib: int


@dataclass(frozen=True)
class Checkup:
    """All of it. `cards` are GPUs by NVIDIA's driver; `memory_free_mib` is None where nobody tells."""

    tledge: str
    python: str
    machine: Machine
    memory_free_mib: int | None
    disks: tuple[Disk, ...]
    backends: tuple[Backend, ...]
    cards: tuple[str, ...]
    packages: tuple[Package, ...]
    tasks: dict[str, Ability]
    variants: tuple[VariantHere, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Probe:
    """What loading a library came to: the GPUs it sees, or why it `failed` or was `slow` to load."""

    gpus: tuple[str, ...] = ()
    failed: str = ""
    slow: str = ""


def examine(progress: Progress = SILENT, patience: float = PATIENCE) -> Checkup:
    """Look around; nothing is written, and no library is loaded into this process."""
    here = [name for name in PROBED if not Needs((name,), "").absent()]
    with (
        start_task(progress, "load libraries", len(here)) as task,
        ThreadPoolExecutor(max(1, len(here))) as pool,
    ):

        def one(name: str) -> Probe:
            found = probe(name, patience)
            task.advance(1)
            return found

        probes = dict(zip(here, pool.map(one, here), strict=True))
    return checkup(probes)


def checkup(probes: Mapping[str, Probe]) -> Checkup:
    """Everything, from what loading the installed ones of `PROBED` came to."""
    broken = [name for name, found in probes.items() if found.failed]
    packages = installed()
    versions = {one.name: one.version for one in packages}
    backends = tuple(_backend(name, versions, probes) for name in BACKENDS)
    cards = _cards()
    return Checkup(
        tledge=__version__,
        python=sys.executable,
        machine=machine.current_machine(),
        memory_free_mib=machine.free_memory_mib(),
        disks=_disks(),
        backends=backends,
        cards=cards,
        packages=packages,
        tasks={name: ability(needs, broken) for name, needs in TASKS.items()},
        variants=tuple(_variant(one, broken) for one in VARIANTS.values()),
        remarks=(*_troubles(probes), *_unseen(backends, cards)),
    )


def probe(name: str, patience: float = PATIENCE) -> Probe:
    """Load a library in a process of its own, for at most `patience` seconds."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = subprocesses.worker_command("environment.gpu_probe", name)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False,
            timeout=patience, env={**os.environ, **quiet},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Probe(slow=f"did not load within {patience:g} s, so its GPUs are not known")
    if done.returncode:
        return Probe(failed=_reason(done.returncode, done.stderr))
    return Probe(gpus=tuple(json.loads(done.stdout.strip().splitlines()[-1])))


def _reason(code: int, said: str) -> str:
    """Why a library does not load, in one line: its last words, or the signal that ended it."""
    if code < 0:
        return f"ended with {signal.Signals(-code).name}"
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"ended with exit code {code}"


def ability(needs: Needs, broken: Collection[str] = ()) -> Ability:
    """Whether what `needs` says is here, `broken` modules aside."""
    absent = needs.absent()
    missing = tuple(name for name in needs.modules if name in absent or name in broken)
    if not missing:
        return Ability(True)
    return Ability(False, missing, needs.command if absent else _again(missing))


def _again(modules: Collection[str]) -> str:
    """The command that puts broken packages back, in the tested version where that is known."""
    names = [resources.package_key(name) for name in modules]
    pins = resources.tested_versions()
    wanted = (f"{name}=={pins[name]}" if name in pins else name for name in names)
    return f"pip install --force-reinstall {' '.join(wanted)}"


def _variant(variant: Variant, broken: Collection[str]) -> VariantHere:
    return VariantHere(
        variant.name,
        variant.mode.summary,
        made=ability(variant.to_convert, broken),
        opened=ability(variant.format.to_open, broken),
        inspected=ability(variant.format.to_inspect, broken),
    )


def installed() -> tuple[Package, ...]:
    """Every installed package of the tested set, by name."""
    from importlib import metadata  # slow to load, and seldom wanted

    pins = resources.tested_versions()
    found: dict[str, str] = {}
    for one in metadata.distributions():  # the first of a name is what Python imports
        found.setdefault(resources.package_key(one.name or ""), one.version)
    return tuple(Package(name, found[name], pins[name]) for name in sorted(pins) if name in found)


def _backend(name: str, versions: Mapping[str, str], probes: Mapping[str, Probe]) -> Backend:
    if name not in probes:
        return Backend(BACKENDS[name], "")
    found = probes[name]
    return Backend(BACKENDS[name], versions.get(name, "?"), found.gpus, found.failed or found.slow)


def _cards() -> tuple[str, ...]:
    """GPUs that NVIDIA's driver knows; none where there is no driver, or it does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip() and not done.returncode)


def _disks() -> tuple[Disk, ...]:
    places = {"runs": Path("runs"), "prepared photos": cache_root(), "scratch": Path(tempfile.gettempdir())}
    return tuple(_disk(what, path.absolute()) for what, path in places.items())


def _disk(what: str, path: Path) -> Disk:
    there = next(one for one in (path, *path.parents) if one.exists())
    usage = shutil.disk_usage(there)
    return Disk(what, str(path), usage.free >> 20, usage.total >> 20)


def _troubles(probes: Mapping[str, Probe]) -> list[str]:
    return [
        f"{name}: installed, and {'does not load' if one.failed else 'slow'} ({one.failed or one.slow})."
        for name, one in probes.items()
        if one.failed or one.slow
    ]


def _unseen(backends: Collection[Backend], cards: Collection[str]) -> list[str]:
    """GPUs that the driver knows and a backend that is here does not see."""
    blind = [one.name for one in backends if one.version and not one.gpus and not one.trouble]
    if not cards or not blind:
        return []
    advice = f" For TensorFlow: {install_command('gpu')}." if "TensorFlow" in blind else ""
    count = "one GPU" if len(cards) == 1 else f"{len(cards)} GPUs"
    return [f"The driver knows {count}, not seen by {' and '.join(blind)}.{advice}"]
