"""One library loaded in a process of its own, and the GPUs it sees.

Run as `python -m tledge.environment.gpu_probe jax`.

Loading may take half a minute, take a GPU's memory, or end the process: none of that is to happen
to whoever asks. Prints a JSON list of the GPUs' names as its last line.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable

MODULES = {"ai_edge_litert": "ai_edge_litert.interpreter"}
"""What to import of a package whose native library its top does not load."""


def tensorflow() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return [str(tf.config.experimental.get_device_details(one).get("device_name", one.name)) for one in found]


def jax() -> list[str]:
    """Names of the accelerators that JAX sees."""
    import jax as library

    return [str(one.device_kind) for one in library.devices() if one.platform != "cpu"]


GPUS: dict[str, Callable[[], list[str]]] = {"tensorflow": tensorflow, "jax": jax}


def main(name: str) -> None:
    """Load the library `name`, and say which GPUs it sees; none for what is no backend of training."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    importlib.import_module(MODULES.get(name, name))
    found = GPUS[name]() if name in GPUS else []
    print(f"\n{json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
