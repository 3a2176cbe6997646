"""Examine this machine: packages beside the tested versions, GPUs, disk, memory, and every variant.

Which variants can be made and opened follows from the packages that their formats need. Packages with
large native libraries are loaded in a separate process, to distinguish broken ones from missing ones.
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
from tledge._io.cache_folder import cache_root
from tledge._process import subprocesses
from tledge._process.optional_imports import Needs, install_command
from tledge._version import __version__
from tledge.bundle import signing
from tledge.environment import machine
from tledge.environment.machine import Machine
from tledge.formats.base import Variant
from tledge.formats.registry import VARIANTS
from tledge.progress import SILENT, Progress, start_task
from tledge.training.loggers import mlflow_logger

PROBED = ("tensorflow", "jax", "ai_edge_litert", "onnxruntime")
"""Libraries that are loaded, each in a separate process, since an installed library may fail to load."""

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
"""Backends of Keras that tledge trains with."""

LOAD_TIMEOUT = 60.0
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
    "log to MLflow": mlflow_logger.NEEDS,
}
"""What tledge can do besides making variants, and the packages that this needs."""


@dataclass(frozen=True)
class Ability:
    """Whether something can be done here; if not, the missing or broken modules and the command to type."""

    possible: bool
    missing: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class VariantHere:
    """Whether a variant can be made from a run, opened to predict, and inspected to verify it."""

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
    """A backend of training: its version ("" if it is not installed) and the GPUs that it sees.

    `trouble` says why it does not load, or why its GPUs are not known.
    """

    name: str
    version: str
    gpus: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Disk:
    """Free and total MiB of the disk that holds, or would hold, a folder."""

    what: str
    path: str
    free_mib: int
    total_mib: int


@dataclass(frozen=True)
class Checkup:
    """The result of an examination. `cards` are the GPUs of NVIDIA's driver.

    `memory_free_mib` is None where the system does not tell it.
    """

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
    """The result of loading a library: the GPUs it sees, or why it `failed` or was `slow` to load."""

    gpus: tuple[str, ...] = ()
    failed: str = ""
    slow: str = ""


def examine(progress: Progress = SILENT, timeout: float = LOAD_TIMEOUT) -> Checkup:
    """Examine this machine; write nothing, and load no library into this process."""
    present = [name for name in PROBED if not Needs((name,), "").absent()]
    with (
        start_task(progress, "load libraries", len(present)) as task,
        ThreadPoolExecutor(max(1, len(present))) as pool,
    ):

        def probe_and_advance(name: str) -> Probe:
            result = probe(name, timeout)
            task.advance(1)
            return result

        probes = dict(zip(present, pool.map(probe_and_advance, present), strict=True))
    return checkup(probes)


def checkup(probes: Mapping[str, Probe]) -> Checkup:
    """Collect everything, given the results of loading the installed libraries of `PROBED`."""
    broken = [name for name, result in probes.items() if result.failed]
    packages = installed()
    versions = {package.name: package.version for package in packages}
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
        variants=tuple(_variant(variant, broken) for variant in VARIANTS.values()),
        remarks=(*_load_failures(probes), *_unseen_gpus(backends, cards)),
    )


def probe(name: str, timeout: float = LOAD_TIMEOUT) -> Probe:
    """Load a library in a separate process, for at most `timeout` seconds."""
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = subprocesses.worker_command("environment.gpu_probe", name)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False,
            timeout=timeout, env={**os.environ, **settings},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Probe(slow=f"did not load within {timeout:g} s, so its GPUs are not known")
    if done.returncode:
        return Probe(failed=_reason(done.returncode, done.stderr))
    return Probe(gpus=tuple(json.loads(done.stdout.strip().splitlines()[-1])))


def _reason(code: int, output: str) -> str:
    """Say in one line why a library does not load: its last line of output, or the signal that ended it."""
    if code < 0:
        return f"ended with {signal.Signals(-code).name}"
    lines = output.strip().splitlines()
    return lines[-1] if lines else f"ended with exit code {code}"


def ability(needs: Needs, broken: Collection[str] = ()) -> Ability:
    """Check whether the modules of `needs` are installed and not `broken`."""
    absent = needs.absent()
    missing = tuple(name for name in needs.modules if name in absent or name in broken)
    if not missing:
        return Ability(True)
    return Ability(False, missing, needs.command if absent else _reinstall_command(missing))


def _reinstall_command(modules: Collection[str]) -> str:
    """Return the command that reinstalls broken packages, in the tested version where that is known."""
    names = [resources.package_key(name) for name in modules]
    pins = resources.tested_versions()
    requirements = (f"{name}=={pins[name]}" if name in pins else name for name in names)
    return f"pip install --force-reinstall {' '.join(requirements)}"


def _variant(variant: Variant, broken: Collection[str]) -> VariantHere:
    return VariantHere(
        variant.name,
        variant.mode.summary,
        made=ability(variant.to_convert, broken),
        opened=ability(variant.format.to_open, broken),
        inspected=ability(variant.format.to_inspect, broken),
    )


def installed() -> tuple[Package, ...]:
    """List every installed package of the tested set, by name."""
    from importlib import metadata  # slow to load, and rarely needed

    pins = resources.tested_versions()
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():  # Python imports the first of a name
        versions.setdefault(resources.package_key(distribution.name or ""), distribution.version)
    return tuple(Package(name, versions[name], pins[name]) for name in sorted(pins) if name in versions)


def _backend(name: str, versions: Mapping[str, str], probes: Mapping[str, Probe]) -> Backend:
    if name not in probes:
        return Backend(BACKENDS[name], "")
    result = probes[name]
    return Backend(BACKENDS[name], versions.get(name, "?"), result.gpus, result.failed or result.slow)


def _cards() -> tuple[str, ...]:
    """List the GPUs that NVIDIA's driver knows; none if there is no driver, or it does not respond."""
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
    folders = {"runs": Path("runs"), "prepared photos": cache_root(), "scratch": Path(tempfile.gettempdir())}
    return tuple(_disk(what, path.absolute()) for what, path in folders.items())


def _disk(what: str, path: Path) -> Disk:
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    usage = shutil.disk_usage(existing)
    return Disk(what, str(path), usage.free >> 20, usage.total >> 20)


def _load_failures(probes: Mapping[str, Probe]) -> list[str]:
    return [
        f"{name}: installed, but {'does not load' if result.failed else 'slow'} "
        f"({result.failed or result.slow})."
        for name, result in probes.items()
        if result.failed or result.slow
    ]


def _unseen_gpus(backends: Collection[Backend], cards: Collection[str]) -> list[str]:
    """Warn about GPUs that the driver knows and an installed backend does not see."""
    blind = [
        backend.name for backend in backends if backend.version and not backend.gpus and not backend.trouble
    ]
    if not cards or not blind:
        return []
    advice = f" For TensorFlow: {install_command('gpu')}." if "TensorFlow" in blind else ""
    count = "one GPU" if len(cards) == 1 else f"{len(cards)} GPUs"
    return [f"The driver knows {count}, not seen by {' and '.join(blind)}.{advice}"]
