"""Record what a run was made with: versions, machine, settings."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

from tledge._process import compute_threads
from tledge.environment import machine, packages


def of_run(seed: int, settings: Sequence[str], backend: str) -> dict[str, Any]:
    """Return the versions, the machine and the settings that are needed to reproduce a run.

    `backend` is the backend of Keras.
    """
    library_names = ("keras", "tensorflow", "jax", "numpy", "Pillow", "ai-edge-litert", "tf2onnx", "onnx")
    made_with = packages.made_with()
    return {
        "tledge": made_with["tledge"],
        "seed": seed,
        "settings": list(settings),
        "backend": backend,
        "python": made_with["python"],
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "processor": machine.processor(),
        "threads": compute_threads.settings(),
        "packages": machine.versions(library_names),
        "installed": made_with["packages"],
    }
