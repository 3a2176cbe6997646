"""What a benchmark was measured on, as plain values: the machine, versions, the commit."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tledge.environment import machine

PACKAGES = (
    "tledge", "keras", "tensorflow", "tensorflow-datasets", "jax", "ai-edge-litert", "onnxruntime", "tf2onnx",
    "numpy", "Pillow",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Describe processor, cores, memory, load before the run, system and versions."""
    return asdict(machine.current_machine(PACKAGES))


def commit(folder: Path) -> str | None:
    """Find the Git commit of `folder`, with "-dirty" where tracked files changed; None outside a checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
