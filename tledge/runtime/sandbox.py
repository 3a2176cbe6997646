"""Open and run model files in another process: native code that a model crashes ends that process alone.

Native runtimes validate a file only in part, and their kernels abort where a check of theirs fails: a model
can end the process that runs it, one that is damaged as well as one that is sound. One process serves all
models that a command opens, one after the other; after a crash the next model gets a new one.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import finalize

from tledge._io import files
from tledge._process import processors
from tledge._process.limited_child import Limits
from tledge._process.optional_imports import Needs
from tledge.errors import ArtifactError
from tledge.runtime import sessions
from tledge.runtime.latency import Minimum, stream
from tledge.runtime.model_file import ModelSource, read_model
from tledge.runtime.sandbox_process import SandboxProcess, Worker
from tledge.runtime.sessions import LiteRTSession, OnnxSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REFERENCE_CLASSES = 512
"""LiteRT's reference int8 softmax aborts where the sum of exponentials, 1 for the largest, reaches this."""

TENSORFLOW, ONNX_RUNTIME = Worker("TensorFlow"), Worker("ONNX Runtime")

WORKER, WORKER_WITH_TENSORFLOW = "runtime.sandbox_worker", "formats.sandbox_worker"
"""Modules of the processes: the first opens `.tflite` and `.onnx` files, the second whatever takes more."""

TIMEOUT, TIMEOUT_WITH_TENSORFLOW = 60.0, 180.0
"""Seconds that a model may take to open, and to predict one image."""

MEMORY, MEMORY_WITH_TENSORFLOW = 4 << 30, 16 << 30
"""Bytes of address space in addition to those below; TensorFlow maps much of it unused."""

MEMORY_PER_PROCESSOR, MEMORY_PER_BYTE = 512 << 20, 16
"""Bytes of address space for each processor, whose threads reserve some, and for each byte of the file."""

MEMORY_STEP = 4 << 30
"""Models whose limits are equal after rounding up to this share a process."""

WRITTEN = 1 << 20
"""Bytes of a file that TensorFlow's process may write: its libraries try the folder for temporary files."""

_processes: dict[tuple[str, int], SandboxProcess] = {}
_lock = Lock()


Opened = tuple[SandboxProcess, dict[str, Any]]
"""The process in which a model is open, and what that replied about the model."""


class SandboxedSession:
    """A model that is open in another process.

    Attributes:
        kernels: What computes the operators; see `sessions.Session`.
        classes: How many values the model returns for an image; None where the file does not say.
        metadata: The metadata properties of a `.onnx` file.
        input_port: Shape (-1 where free) and dtype of the input of a `.onnx` file.
    """

    def __init__(self, opening: Callable[[], Opened], name: str, by: Worker) -> None:
        """Open the model called `name` with `opening`, also again where another model ended the process.

        `by` is the runtime that works on the model.
        """
        self._opening, self._name = opening, name
        self._process, opened = opening()
        self.kernels: str = opened["kernels"]
        self.classes: int | None = opened["classes"]
        self.metadata: dict[str, str] = opened["metadata"]
        self.input_port: dict[str, Any] | None = opened.get("input")
        self._by = replace(by, limit=_known_limit(opened))
        self._image_size, self._no_image = opened["image_size"], opened["no_image"]
        self._take(opened)

    def _take(self, opened: Mapping[str, Any]) -> None:
        self._number: int = opened["number"]
        finalize(self, self._process.closed.append, self._number)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; raises ArtifactError where the input is not RGB images."""
        if self._no_image:
            raise ArtifactError(self._no_image)
        height, width = self._image_size
        return height, width

    def run(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict images in the other process; see `sessions.Session.run`.

        Values float32, in the shape of the model's own input, are passed as they are.

        Raises:
            ArtifactError: the model does not run, or it ends the process.
        """
        import numpy as np

        reply, content = self._ask("run", images)
        probabilities = np.frombuffer(content, np.float32).reshape(reply["shape"])
        if probabilities.ndim != 2 or len(probabilities) != len(images):
            raise ArtifactError(
                f"{self._name}: returns shape {reply['shape']} for {len(images)} images, expected "
                f"[{len(images)}, classes]."
            )
        return probabilities

    def latencies(self, images: NDArray[Any], minimum: Minimum) -> list[int]:
        """Time single images in the other process; see `latency.stream`."""
        reply, _content = self._ask("time", images, minimum=asdict(minimum))
        return list(reply["latencies"])

    def _ask(self, what: str, images: NDArray[Any], **more: object) -> tuple[dict[str, Any], bytes]:
        request = {"do": what, "number": self._number, "shape": images.shape, **more}
        if images.dtype != "uint8":
            request["values"] = True
        if self._process.has_ended:
            self._process, opened = self._opening()
            self._take(opened)
            request["number"] = self._number
        timeout = TIMEOUT_WITH_TENSORFLOW * max(1, len(images))
        return self._process.ask(request, images.tobytes(), timeout, self._name, self._by)


OpenedSession = SandboxedSession | LiteRTSession | OnnxSession
"""A session that also knows its `image_size` and `classes`."""


def open_session(source: ModelSource, kernels: str = "xnnpack", *, parallel: bool = False) -> OpenedSession:
    """Open a `.tflite` model in LiteRT, or a `.onnx` model in ONNX Runtime, in another process.

    Args:
        source: The path of the file, or the file that was read already.
        kernels: The kernel family of LiteRT; ONNX Runtime has one.
        parallel: Divide many images over all processors.

    Returns:
        The session. Where this Python cannot start another process, as in a program that embeds it, the
        session is one of this process.

    Raises:
        ArtifactError: the file is damaged, does not open, or ends the process that opens it.
        MissingError: its runtime is not installed.
        RecipeError: the kernel family is unknown.
    """
    sessions.check_suffix(source)
    model = read_model(source)
    count = processors.usable() if parallel else 1
    is_onnx = files.ending(model.name) == ".onnx"
    if not is_possible("onnxruntime" if is_onnx else "ai_edge_litert"):
        return sessions.open_session(model, kernels)
    by = ONNX_RUNTIME if is_onnx else _litert(kernels)
    request = {"do": "open", "name": model.name, "kernels": kernels, "sessions": count}
    memory = MEMORY + count * (MEMORY_PER_PROCESSOR + MEMORY_PER_BYTE * len(model.content))

    def opening() -> Opened:
        process = _process(WORKER, memory, written=0)
        return process, process.ask(request, model.content, TIMEOUT, model.name, by)[0]

    return SandboxedSession(opening, model.name, by)


def latencies(session: OpenedSession, images: NDArray[np.uint8], minimum: Minimum) -> list[int]:
    """Time single images where the session is open; see `latency.stream`."""
    if isinstance(session, SandboxedSession):
        return session.latencies(images, minimum)
    return stream(session, images, minimum, time.perf_counter_ns)


def open_folder(path: Path) -> SandboxedSession:
    """Open the folder of a SavedModel in TensorFlow, in another process; raise as `open_session` does."""
    request = {"do": "open", "name": str(path.absolute())}
    return SandboxedSession(lambda: ask_tensorflow(request, str(path)), str(path), TENSORFLOW)


def ask_tensorflow(
    request: Mapping[str, object], name: str, content: bytes = b"", by: Worker = TENSORFLOW
) -> Opened:
    """Send a request to the process that may load TensorFlow; return the process and its reply.

    Args:
        request: What to do; see `tledge.formats.sandbox_worker`.
        name: The name of the file or folder for error messages.
        content: The bytes of the file, if it was read already.
        by: The library that works on it.

    Raises:
        ArtifactError: the file ends the process, or whatever the request raises there.
    """
    cores = processors.in_machine()
    memory = MEMORY_WITH_TENSORFLOW + cores * MEMORY_PER_PROCESSOR + MEMORY_PER_BYTE * len(content)
    process = _process(WORKER_WITH_TENSORFLOW, memory, written=WRITTEN)
    return process, process.ask(request, content, TIMEOUT_WITH_TENSORFLOW, name, by)[0]


def is_possible(library: str) -> bool:
    """Tell whether another process can use a library.

    It cannot where the library is not installed, which opening a file in this process explains, and where
    this Python cannot be started: `sys.executable` is "" where a program embeds it.
    """
    return bool(sys.executable) and not Needs((library,), "").absent()


def _litert(kernels: str) -> Worker:
    advice = "Choose other kernels with --kernels, or get the file again if it may be damaged."
    return Worker(f"LiteRT with {kernels} kernels", advice)


def _known_limit(opened: Mapping[str, Any]) -> str:
    """Return a sentence about a limit of the kernels that the model may meet; "" where none is known."""
    return known_limit(opened["kernels"], opened["classes"] or 0) if opened["is_integer"] else ""


def known_limit(kernels: str, classes: int) -> str:
    """Return the same of an int8 model of so many classes in a kernel family of LiteRT."""
    if kernels != "reference" or classes <= REFERENCE_CLASSES:
        return ""
    return (
        f"Their int8 softmax aborts where more than {REFERENCE_CLASSES} labels are about equally probable; "
        f"this model has {classes}."
    )


def _process(module: str, memory: int, **limits: int) -> SandboxProcess:
    """Return a running process of a module that may use so much memory, rounded up; start it if needed."""
    key = module, -(-memory // MEMORY_STEP) * MEMORY_STEP
    with _lock:
        process = _processes.get(key)
        if process is not None and process.has_ended:
            process.close()
            process = None
        if process is None:
            process = _processes[key] = SandboxProcess(module, Limits(key[1], **limits))
        return process


@atexit.register
def close_all() -> None:
    """End the processes; sessions that are open there do not run any more."""
    for process in list(_processes.values()):
        process.close()
    _processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_processes.clear)  # two processes cannot share their pipes
