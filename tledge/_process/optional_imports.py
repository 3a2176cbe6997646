"""Import optional libraries, and name the command that installs one that is missing."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tledge._io import resource_errors
from tledge._process import compute_threads, keras_settings
from tledge._process.native_output import native_stderr_closed
from tledge.errors import MissingError, ResourceError


@dataclass(frozen=True)
class Needs:
    """Top-level `modules` that a feature imports, and the `command` that installs them."""

    modules: tuple[str, ...]
    command: str

    def absent(self) -> tuple[str, ...]:
        """Return the modules that are not installed, without importing any."""
        return tuple(name for name in self.modules if not _is_installed(name))


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # a finder that refuses; a module without a spec
        return False


def install_command(name: str) -> str:
    """Return the command that installs an extra of tledge."""
    return f"pip install 'tledge[{name}]'"


def disable_telemetry() -> None:
    """Disable ONNX Runtime's telemetry; to be called before it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def import_runtime(name: str) -> None:
    """Import the library that opens the file `name`; if it is missing, opening the file explains it."""
    disable_telemetry()
    with suppress(ImportError):
        importlib.import_module(
            "onnxruntime" if name.lower().endswith(".onnx") else "ai_edge_litert.interpreter"
        )


Shown = Callable[[str], AbstractContextManager[object]]
"""Shows, for the time of a block, what is being loaded."""

SLOW = {"keras": {"tensorflow": "TensorFlow", "jax": "JAX"}, "tensorflow": {"": "TensorFlow"}}
"""Modules that take seconds to import, with the name that is shown; that of Keras depends on its backend."""

_shown: list[Shown] = []
"""The last entry shows that a library is being loaded."""


@contextmanager
def loading_shown(shown: Shown) -> Iterator[None]:
    """Let `shown` show, in a block, each large library while it is being loaded."""
    _shown.append(shown)
    try:
        yield
    finally:
        _shown.remove(shown)


def _loading(module: str) -> AbstractContextManager[object]:
    names = SLOW.get(module, {})
    name = names.get(os.environ.get(keras_settings.VARIABLE, ""), names.get("", ""))
    return _shown[-1](f"loading {name}") if _shown and name else nullcontext()


def require_installed(module: str, extra: str) -> None:
    """Raise the MissingError of `load` where a module is not installed, without importing it.

    So nothing that takes long is done before the module is found to be missing.
    """
    keras_settings.choose_backend()
    if not sys.modules.get(module) and not _is_installed(module):
        raise _missing(module, extra, "not found")


def load(module: str, extra: str, command: str = "") -> Any:
    """Import a large module without what it prints when it loads, warnings of its own imports included.

    Raises:
        MissingError: the module does not load; the message names the extra of tledge, or `command`.
        ResourceError: memory is too small to load it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    disable_telemetry()
    compute_threads.fix_count()
    if module in sys.modules:
        return _with_settings(sys.modules[module])
    keras_settings.choose_backend()
    # TensorFlow logs its own deprecations through this logger.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        with _loading(module), native_stderr_closed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorflow_hub's of pkg_resources, for example
            return _with_settings(importlib.import_module(module))
    except ImportError as error:
        if explanation := resource_errors.cause(error):
            raise ResourceError(explanation) from error
        raise _missing(module, extra, error, command) from error


def _missing(module: str, extra: str, why: object, command: str = "") -> MissingError:
    return MissingError(
        f"{module} is not installed or does not load ({why}). Install it with: "
        f"{command or install_command(extra)}"
    )


def _with_settings(module: Any) -> Any:
    """Return a module; Keras with tledge's own settings."""
    if getattr(module, "__name__", "") == "keras" and hasattr(module, "config"):
        keras_settings.apply(module)
    return module
