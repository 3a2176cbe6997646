"""Try a model file in another process before this process opens it.

Native runtimes validate a file only in part: a damaged or malicious one can crash them. The other process
opens the file and predicts one image of zeros. This does not prove that no other image crashes the runtime.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys

from tledge import errors
from tledge._process import limited_child, optional_imports
from tledge._process.limited_child import Limits
from tledge.errors import ArtifactError
from tledge.runtime.model_file import ModelFile

TIMEOUT = 60.0
"""Seconds that a model may take to open and to predict one image."""

MEMORY = 2 << 30
"""Bytes of address space in addition to eight times the file's size; a classifier needs far less."""

_passed: set[str] = set()
"""Models that passed in this process, by SHA-256 and kernel family."""


def try_model(model: ModelFile, kernels: str = "xnnpack") -> None:
    """Open a model in another process and let it predict one image of zeros.

    Content that passed before in this process is not tried again.

    Args:
        model: The `.tflite` or `.onnx` file. Open the same value afterwards, not its path.
        kernels: LiteRT's kernel family: "xnnpack", "builtin" or "reference".

    Raises:
        ArtifactError: the process crashes, exceeds its time or memory, or the file does not load.
        MissingError: the runtime is not installed.
    """
    key = f"{model.sha256} {kernels}"
    if key in _passed or not sys.executable:  # "": Python embedded in a program that cannot be started
        return
    limits = Limits(MEMORY + 8 * len(model.content), math.ceil(TIMEOUT) * (os.cpu_count() or 1), written=0)
    process = limited_child.start("runtime.sandbox_worker", model.name, kernels, limits=limits)
    try:
        optional_imports.import_runtime(model.name)  # this process needs it next; meanwhile the other starts
        out, err = process.communicate(model.content, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise ArtifactError(
            f"{model.name}: does not open and predict within {TIMEOUT:g} s; the file is damaged or malicious."
        ) from None
    finally:
        process.kill()
        process.communicate()
    _raise_failure(model.name, process.returncode, out, err)
    _passed.add(key)


def _raise_failure(name: str, code: int, out: bytes, err: bytes) -> None:
    """Raise the failure of a process that ended; return where it succeeded."""
    lines = out.decode("utf-8", "replace").splitlines()
    if code == 0 and lines and lines[-1].startswith("{"):
        result = json.loads(lines[-1])
        if "error" in result:
            raise errors.error_class(result, ArtifactError)(result["error"])
        return
    if code < 0:
        raise ArtifactError(
            f"{name}: crashes the runtime that opens it ({signal.Signals(-code).name}); the file is damaged "
            "or malicious. Get it again from its author."
        )
    last_line = " ".join(err.decode("utf-8", "replace").strip().splitlines()[-1:])[:300]
    raise ArtifactError(f"{name}: could not be tried (exit code {code}). {last_line}".rstrip())
