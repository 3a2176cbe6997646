"""Let Keras compute the same on every machine: not by `keras.json`, and by a backend that tledge knows."""

from __future__ import annotations

import os
from typing import Any

from tledge.errors import RecipeError

VARIABLE = "KERAS_BACKEND"
"""Environment variable that chooses Keras' backend, before the file `keras.json`."""

BACKENDS = ("tensorflow", "jax")
"""Backends that tledge trains with, the default first."""


def choose_backend() -> None:
    """Choose Keras' backend before Keras is imported: that of the environment, else the default.

    Raises:
        RecipeError: the environment names another backend.
    """
    os.environ[VARIABLE] = os.environ.get(VARIABLE) or BACKENDS[0]
    _require_known(os.environ[VARIABLE], f"{VARIABLE}={os.environ[VARIABLE]}")


def apply(keras: Any) -> None:
    """Set what Keras, once it is imported, may have from `keras.json` or from other code of this process.

    Raises:
        RecipeError: other code imported it with a backend that tledge does not know.
    """
    backend = keras.backend.backend()
    _require_known(backend, f"this program imported Keras with the backend {backend}")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def _require_known(backend: str, where: str) -> None:
    if backend not in BACKENDS:
        raise RecipeError(
            f"{where}: tledge computes with {' or '.join(BACKENDS)}. Unset {VARIABLE}, or set it to one."
        )
