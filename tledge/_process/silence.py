"""Keeping native code quiet: it greets on stderr before, and whatever, any setting says."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tledge._io import resource_errors
from tledge.errors import MissingError, ResourceError


class _Stderr:
    """Threads that want the process' stderr closed, and where it goes again after the last of them."""

    def __init__(self) -> None:
        self._lock, self._holders, self._kept = threading.Lock(), 0, -1

    def close(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders > 1:
                return
            sys.stderr.flush()
            self._kept = os.dup(2)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 2)
            os.close(sink)

    def open(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                os.dup2(self._kept, 2)
                os.close(self._kept)


_STDERR = _Stderr()


@contextmanager
def native_stderr_closed() -> Iterator[None]:
    """Close off the process' stderr for a block, in any thread; Python exceptions pass as ever."""
    _STDERR.close()
    try:
        yield
    finally:
        _STDERR.open()


@contextmanager
def native_output_closed() -> Iterator[None]:
    """Close off what native code writes to stdout and stderr for a block; Python's own still appears."""
    before = sys.stdout, sys.stderr
    for stream in before:
        stream.flush()
    kept = os.dup(1), os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(sink, number)
        sys.stdout, sys.stderr = (
            open(os.dup(one), "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
            for one in kept
        )
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.close()
        sys.stdout, sys.stderr = before
        for number, one in zip((1, 2), kept, strict=True):
            os.dup2(one, number)
            os.close(one)
        os.close(sink)


def keep_to_yourself() -> None:
    """To be called before ONNX Runtime loads, whose builds otherwise tell their maker how they are used."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def import_runtime(name: str) -> None:
    """Import the library that opens the file `name`; where it is not there, opening the file explains it."""
    keep_to_yourself()
    with suppress(ImportError):
        importlib.import_module("onnxruntime" if name.endswith(".onnx") else "ai_edge_litert.interpreter")


def load(module: str, extra: str) -> Any:
    """Import a heavy module without its greeting.

    Raises MissingError, naming the extra of tledge to install, where it is not there, and
    ResourceError where memory does not suffice to load it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_to_yourself()
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
