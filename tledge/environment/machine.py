"""The machine that measures: what must stand beside every figure of time or memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUNTIMES = ("ai-edge-litert", "onnxruntime", "numpy")
"""Packages whose version decides how fast an artifact runs."""

_NAMES = (
    (Path("/proc/cpuinfo"), re.compile(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", re.M)),
    (Path("/sys/firmware/devicetree/base/model"), re.compile(r"^([^\0]+)")),
)
"""Where Linux names the processor, or the board that it sits on."""

_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True)
class Machine:
    """What measured. Memory in MiB, None where the system does not tell.

    `cores` counts the logical cores that this process may use; `load` is the system's average of
    running processes over the last minute, taken before measuring.
    """

    processor: str
    architecture: str
    cores: int
    memory_mib: int | None
    system: str
    python: str
    packages: dict[str, str]
    load: float | None

    @property
    def busy(self) -> str:
        """What to say of latencies where something else was running; empty where nothing was."""
        if self.load is None or self.load <= self.cores / 2:
            return ""
        return (
            f"Something else ran in the minute before (load average {self.load} on {self.cores} cores): "
            "latencies may be too long."
        )


def current_machine(packages: Sequence[str] = RUNTIMES) -> Machine:
    """This machine, with the versions of those `packages` that are installed."""
    return Machine(
        processor=processor(),
        architecture=platform.machine(),
        cores=cores(),
        memory_mib=memory_mib(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=versions(packages),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def cores() -> int:
    """Logical cores that this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name, or that of its board; at worst the architecture's."""
    for path, pattern in _NAMES:
        try:
            found = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if found:
            return found[1].strip()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def memory_mib() -> int | None:
    """All memory in MiB; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def free_memory_mib() -> int | None:
    """Memory in MiB that programs can still have without swapping; None where the system does not tell."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", _MEMORY.read_text(encoding="utf-8"), re.M)
    except OSError:  # not Linux
        return None
    return int(found[1]) >> 10 if found else None


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    from importlib import metadata  # slow to load, and seldom wanted

    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine_line(one: Machine) -> str:
    """What measured, in one sentence."""
    memory = "" if one.memory_mib is None else f", {one.memory_mib / 1024:.0f} GiB"
    packages = ", ".join(f"{name} {version}" for name, version in one.packages.items())
    return (
        f"Measured on {one.processor} ({one.architecture}, {one.cores} cores{memory}), {one.system}, "
        f"Python {one.python}, {packages}."
    )
