"""Talk to the process that has opened somebody else's model: predict, and save what becomes of it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import errors
from tledge._io import files
from tledge._io.json_records import from_json
from tledge._process import limited_child, subprocesses
from tledge._process.limited_child import Limits
from tledge.adoption.facts import ModelFacts
from tledge.errors import ArtifactError
from tledge.models import keras_session
from tledge.preprocessing.scaling import Scaling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OPENING, PREDICTING = 300.0, 1800.0
"""Seconds that opening a model may take, TensorFlow included, and predicting `TOGETHER` images."""

TOGETHER = 256
"""Images that are handed over at once; a multiple of the batch of 32."""

MAX_REPLY = 1 << 20
"""Bytes of a reply."""


class AdoptionSession:
    """A process that has opened a model; a context manager that ends it.

    It can predict in place of a Keras model: see `predict_on_batch`.

    Args:
        path: The model's file, or its folder.
        size: Side of the photos, 0 where the model says it.
        shown: How messages name the model; its path if empty.

    Raises:
        TledgeError: The model is damaged or refused; the class tells which of both.
    """

    def __init__(self, path: Path, size: int = 0, shown: str = "") -> None:
        self._path = path.absolute()
        self._shown = shown or str(path)
        self._scratch = tempfile.TemporaryDirectory(prefix="tledge-", ignore_cleanup_errors=True)
        self._folder = Path(self._scratch.name)
        hidden = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        scratch = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._scratch.name)
        with subprocesses.ignore_interrupts():
            self._process = limited_child.start(
                "adoption.worker",
                path.absolute(),
                size,
                limits=_limits(path),
                environment={**hidden, **scratch},
                stderr=subprocess.DEVNULL,
            )
        try:
            self.facts = from_json(ModelFacts, self._receive(OPENING))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> AdoptionSession:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its temporary files."""
        self._process.kill()
        self._process.communicate()
        self._scratch.cleanup()

    def predict(
        self,
        images: NDArray[np.uint8],
        scaling: Scaling | None = None,
        advance: Callable[[int], None] = lambda _count: None,
    ) -> NDArray[np.float32]:
        """Predict images uint8[N, H, W, 3]; return float32[N, classes].

        Args:
            images: The images.
            scaling: The scaling in front of the model; None for the model that `save` has saved.
            advance: Is told how many images are predicted.
        """
        import numpy as np

        request = {"do": "final"} if scaling is None else {"do": "try", "scaling": asdict(scaling)}
        parts = []
        for start in range(0, len(images), TOGETHER):
            part = images[start : start + TOGETHER]
            parts.append(self._exchange(part, request))
            advance(len(part))
        return np.concatenate(parts)

    def predict_on_batch(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict float32 images together with the saved model, as a Keras model does."""
        return self._exchange(images, {"do": "final", "together": True})

    def save(self, scaling: Scaling) -> tuple[Path, bool]:
        """Save the model with this scaling inside.

        Returns:
            The file, until the session ends, and whether the model was as tledge makes one before.
        """
        out = self._folder / "model.keras"
        reply = self._ask({"do": "save", "scaling": asdict(scaling), "out": str(out)})
        return out, bool(reply.get("unchanged"))

    def _exchange(self, images: NDArray[Any], request: dict[str, Any]) -> NDArray[np.float32]:
        import numpy as np

        source, target = self._folder / "images.npy", self._folder / "outputs.npy"
        np.save(source, images)
        self._ask({**request, "images": str(source), "out": str(target)})
        outputs = np.load(target, allow_pickle=False)
        if outputs.dtype != np.float32 or outputs.ndim != 2 or len(outputs) != len(images):
            raise self._failure("does not reply with probabilities")
        return np.asarray(outputs)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure("does not reply any more") from error
        return self._receive(PREDICTING)

    def _receive(self, timeout: float) -> dict[str, Any]:
        """Return the next line of the process; raise its failure, or that there is none in time."""
        reply = limited_child.receive(self._process, timeout, MAX_REPLY, self._failure)
        if "error" in reply:
            message = str(reply["error"]).replace(str(self._path), self._shown)
            raise errors.error_class(reply, ArtifactError)(message)
        return reply

    def _failure(self, what: str) -> ArtifactError:
        return ArtifactError(
            f"{self._shown}: the process that opened it {what}; the model is damaged, malicious, or too "
            "large for this machine."
        )


def _limits(path: Path) -> Limits:
    """Return what the process may use; it writes a copy of the model, and probabilities."""
    size = files.size_of(path) if path.exists() else 0
    return Limits(memory=keras_session.memory_for(size), written=(256 << 20) + 4 * size)
