"""Load one library in a process of its own and print the GPUs it sees.

Run as `python -m tledge.environment.gpu_probe jax`; the last line of its output is a JSON list of names.
Loading may take half a minute, allocate a GPU's memory or end the process, so no other process does it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable

MODULES = {"ai_edge_litert": "ai_edge_litert.interpreter"}
"""The module to import of a package whose top module does not load its native library."""


def tensorflow() -> list[str]:
    """Return the names of the GPUs that TensorFlow sees."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    devices = tf.config.list_physical_devices("GPU")
    return [str(details(device).get("device_name", device.name)) for device in devices]


def jax() -> list[str]:
    """Return the names of the accelerators that JAX sees."""
    import jax as library

    return [str(device.device_kind) for device in library.devices() if device.platform != "cpu"]


GPUS: dict[str, Callable[[], list[str]]] = {"tensorflow": tensorflow, "jax": jax}


def main(name: str) -> None:
    """Load the library `name` and print the GPUs it sees; none if it is no training backend."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    importlib.import_module(MODULES.get(name, name))
    names = GPUS[name]() if name in GPUS else []
    print(f"\n{json.dumps(names)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
