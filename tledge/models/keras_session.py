"""The Keras model of a run with the interface of an artifact's session, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import errors
from tledge._process import limited_child, processors, subprocesses
from tledge._process.limited_child import Limits
from tledge.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OPENING, PREDICTING = 180.0, 60.0
"""Seconds that opening the model may take, TensorFlow included, and one prediction."""

MEMORY, MEMORY_PER_PROCESSOR = 16 << 30, 512 << 20
"""Bytes of address space, in addition to 16 times the file's size; TensorFlow maps much of it unused."""

MAX_REPLY = 64 << 20
"""Bytes of a reply."""


class KerasSession:
    """A process that has opened a `.keras` file, which may be somebody else's, and predicts with it.

    Raises:
        RunError: the file is damaged or refused, or opening it crashes or takes too long.
        MissingError: Keras is not installed.
    """

    kernels = "keras"

    def __init__(self, path: Path) -> None:
        self._path = path
        hidden = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        with subprocesses.ignore_interrupts():
            self._process = limited_child.start(
                "models.keras_worker",
                path.absolute(),
                limits=_limits(path),
                environment=hidden,
                stderr=subprocess.DEVNULL,
            )
        try:
            self._receive(OPENING)
        except BaseException:
            self.close()
            raise

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict images uint8[N, H, W, 3]; return float32[N, classes]."""
        import numpy as np

        try:
            self._send(json.dumps(images.shape).encode() + b"\n" + images.tobytes())
            return np.asarray(self._receive(PREDICTING)["probabilities"], np.float32)
        except (OSError, ValueError, LookupError, TypeError) as error:  # it ended, or gives no such reply
            raise self._failure("does not reply any more") from error

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _receive(self, timeout: float) -> dict[str, Any]:
        """Return the next line of the process; raise its failure, or that there is none in time."""
        reply = limited_child.receive(self._process, timeout, MAX_REPLY, self._failure)
        if "error" in reply:
            raise errors.error_class(reply, RunError)(reply["error"])
        return reply

    def _failure(self, what: str) -> RunError:
        return RunError(
            f"{self._path}: the process that opened it {what}; the file is damaged, malicious, or too large "
            "for this machine."
        )


def _limits(path: Path) -> Limits:
    """Return what the process may use; it writes a copy of the file, and nothing larger."""
    size = path.stat().st_size if path.is_file() else 0
    return Limits(memory=memory_for(size), written=size)


def memory_for(size: int) -> int:
    """Return the bytes of address space that a process may take to open a model of `size` bytes."""
    return MEMORY + MEMORY_PER_PROCESSOR * processors.in_machine() + 16 * size
