"""Divide images over equal sessions, one for every processor."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

from tledge._process import processors
from tledge.runtime.sessions import LiteRTSession, Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGES_AT_A_TIME = 8
"""Images that a session of a pool takes at a time: few, so that no core waits long for another at the end."""


class SessionPool:
    """Equal sessions of one thread each: whichever is idle takes the next few images.

    For small networks this uses the processor better than many threads on one image.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        """Take equal sessions, at least one; the same one several times where it is thread-safe."""
        self.kernels = sessions[0].kernels
        self._count = len(sessions)
        self._idle: SimpleQueue[Session] = SimpleQueue()
        for session in sessions:
            self._idle.put(session)
        self._threads = ThreadPoolExecutor(len(sessions))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict images in parallel and return them in order; see `Session.run`."""
        import numpy as np

        size = max(1, min(IMAGES_AT_A_TIME, -(-len(images) // self._count)))
        chunks = [images[start : start + size] for start in range(0, max(1, len(images)), size)]
        return np.concatenate(list(self._threads.map(self._run_on_idle, chunks)))

    def _run_on_idle(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        session = self._idle.get()
        try:
            return session.run(images)
        finally:
            self._idle.put(session)


def run_on_all_cores(model: bytes, name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Predict images with a `.tflite` model by XNNPACK, divided over all processors.

    Args:
        model: The content of the file.
        name: Its name for error messages.
        images: uint8[N, H, W, 3] in RGB.

    Returns:
        Class probabilities float32[N, classes].

    Raises:
        ArtifactError: the model does not load or does not run.
        MissingError: LiteRT is not installed.
    """
    return SessionPool([LiteRTSession(model, name) for _ in range(processors.usable())]).run(images)
