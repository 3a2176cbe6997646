"""Describe the machine that measures: every latency and memory figure is reported together with it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tledge._process import processors

RUNTIMES = ("ai-edge-litert", "onnxruntime", "numpy")
"""Packages whose version affects how fast an artifact runs."""

_PROCESSOR_FILES = (
    (Path("/proc/cpuinfo"), re.compile(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", re.M)),
    (Path("/sys/firmware/devicetree/base/model"), re.compile(r"^([^\0]+)")),
)
"""Files in which Linux names the processor or the board, with the pattern of the name."""

_MEMORY_FILE = Path("/proc/meminfo")


@dataclass(frozen=True)
class Machine:
    """The machine that measured. Memory is in MiB, None where the system does not report it.

    `cores` counts the logical cores that this process may use; `load` is the average number of
    running processes over the last minute, read before measuring.
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
        """Return a warning that other programs were running; empty where none were."""
        if self.load is None or self.load <= self.cores / 2:
            return ""
        return (
            f"Something else ran in the minute before (load average {self.load} on {self.cores} cores): "
            "latencies may be too long."
        )

    def describe(self) -> str:
        """Name the processor, memory, system and versions in one sentence."""
        memory = "" if self.memory_mib is None else f", {self.memory_mib / 1024:.0f} GiB"
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return (
            f"Measured on {self.processor} ({self.architecture}, {self.cores} cores{memory}), {self.system}, "
            f"Python {self.python}, {packages}."
        )


def current_machine(packages: Sequence[str] = RUNTIMES) -> Machine:
    """Describe this machine, with the versions of those `packages` that are installed."""
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
    """Count the logical cores that this process may use; at least 1."""
    return processors.available()


def processor() -> str:
    """Return the processor's name, else that of its board, else the architecture."""
    for path, pattern in _PROCESSOR_FILES:
        try:
            match = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if match:
            return match[1].strip()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        return completed.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def memory_mib() -> int | None:
    """Return the total memory in MiB; None where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def free_memory_mib() -> int | None:
    """Return the MiB that programs can use without swapping; None where the system does not report it."""
    try:
        match = re.search(r"^MemAvailable:\s*(\d+) kB", _MEMORY_FILE.read_text(encoding="utf-8"), re.M)
    except OSError:  # not Linux
        return None
    return int(match[1]) >> 10 if match else None


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those `packages` that are installed."""
    from importlib import metadata  # slow to load, and rarely needed

    installed = {}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed
