"""Fix the number of threads that TensorFlow and JAX divide one computation among.

Each thread adds up a part of a sum, and float32 sums depend on how they are divided. Left alone, both
libraries take as many threads as the process may use processors, and so the same recipe gives another
model under `taskset -c 0` than on the whole machine. Here they take as many as the machine has processors,
whatever the process may use.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from tledge._process import processors

TENSORFLOW = "TF_NUM_INTRAOP_THREADS"
"""TensorFlow's own environment variable for this number; read when it first computes."""

JAX = "NPROC"
"""The environment variable from which JAX on the CPU takes the number of processors; read when it loads."""


def fix_count() -> None:
    """Set both variables where they are unset, for this process and its children; call before importing."""
    os.environ.setdefault(TENSORFLOW, str(processors.in_machine()))
    if os.environ.get("KERAS_BACKEND") == "jax" and not _has_jax_plugin():
        os.environ.setdefault(JAX, str(processors.in_machine()))


def settings() -> dict[str, str]:
    """Return those of both variables that are set, as a run records them."""
    return {name: os.environ[name] for name in (TENSORFLOW, JAX) if name in os.environ}


def _has_jax_plugin() -> bool:
    """Return whether JAX may use a GPU or TPU: then its threads on the CPU only feed that device."""
    return find_spec("jax_plugins") is not None
