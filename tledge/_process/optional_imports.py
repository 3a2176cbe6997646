"""What a thing needs that may not be installed: modules, and the one command that brings them."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tledge._io import resource_errors
from tledge._process.native_output import native_stderr_closed
from tledge.errors import MissingError, ResourceError


@dataclass(frozen=True)
class Needs:
    """Top-level `modules` that something imports, and the `command` to type where one is missing."""

    modules: tuple[str, ...]
    command: str

    def absent(self) -> tuple[str, ...]:
        """Those of the modules that are not installed; none is imported for that."""
        return tuple(name for name in self.modules if not _is_found(name))


def _is_found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # a finder that refuses; a module without a spec
        return False


def install_command(name: str) -> str:
    """The command that installs an extra of tledge."""
    return f"pip install 'tledge[{name}]'"


def disable_telemetry() -> None:
    """To be called before ONNX Runtime loads, whose builds otherwise tell their maker how they are used."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def import_runtime(name: str) -> None:
    """Import the library that opens the file `name`; where it is not there, opening the file explains it."""
    disable_telemetry()
    with suppress(ImportError):
        importlib.import_module("onnxruntime" if name.endswith(".onnx") else "ai_edge_litert.interpreter")


def load(module: str, extra: str) -> Any:
    """Import a heavy module without its greeting.

    Raises MissingError, naming the extra of tledge to install, where it is not there, and
    ResourceError where memory does not suffice to load it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    disable_telemetry()
    if module in sys.modules:
        return sys.modules[module]
    # TensorFlow announces its own deprecations through this logger.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        with native_stderr_closed():
            return importlib.import_module(module)
    except ImportError as error:
        if why := resource_errors.cause(error):
            raise ResourceError(why) from error
        raise MissingError(
            f"{module} is not installed or does not load ({error}): pip install 'tledge[{extra}]'"
        ) from error
