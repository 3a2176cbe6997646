"""A model file tried in a process of its own before this one opens it.

Native runtimes check much of a file and not all: one that was damaged, or made to do harm, can crash
them. What a trial shows is that the file opens and answers to an image of zeros. It does not show that
no other image crashes it.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys

from tledge import errors
from tledge._process import optional_imports, subprocesses
from tledge.errors import ArtifactError

PATIENCE = 60.0
"""Seconds that a model may take to open and answer once."""

_tried: set[str] = set()
"""Models that did, in this process, by hash and kernels."""


def require(model: bytes, name: str, kernels: str = "xnnpack") -> None:
    """Let another process open the `.tflite` or `.onnx` file `model`, called `name`, and answer to zeros.

    Raises ArtifactError where that crashes, takes too long or too much memory, and whatever opening the
    file raises.
    """
    key = f"{hashlib.sha256(model).hexdigest()} {kernels}"
    if key in _tried or not sys.executable:  # "": Python inside another program, which cannot be started
        return
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        subprocesses.worker_command("runtime.sandbox_worker", name, kernels),
        stdin=pipe, stdout=pipe, stderr=pipe, env=subprocesses.child_environment(),
    )  # fmt: skip
    try:
        optional_imports.import_runtime(name)  # what this process needs next, while the other one starts
        out, err = process.communicate(model, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise ArtifactError(
            f"{name}: does not open and answer within {PATIENCE:g} s; damaged, or made to do harm."
        ) from None
    finally:
        process.kill()
        process.communicate()
    _raise(name, process.returncode, out, err)
    _tried.add(key)


def _raise(name: str, code: int, out: bytes, err: bytes) -> None:
    """Raise what the other process ended with; nothing where it did well."""
    lines = out.decode("utf-8", "replace").splitlines()
    if code == 0 and lines and lines[-1].startswith("{"):
        told = json.loads(lines[-1])
        if "error" in told:
            raise errors.error_class(told, ArtifactError)(told["error"])
        return
    if code < 0:
        ending = f"crashes the runtime that opens it ({signal.Signals(-code).name})"
        raise ArtifactError(f"{name}: {ending}; damaged, or made to do harm. Get it again from who made it.")
    last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
    raise ArtifactError(f"{name}: could not be tried (exit code {code}). {' '.join(last)[:300]}".rstrip())
