"""Predict the same pixels with all models of a run: Keras and the exported artifacts."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from tledge.contract import InputSpec
from tledge.errors import RunError, TledgeError
from tledge.formats.registry import VARIANTS
from tledge.models.keras_session import KerasSession
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact
from tledge.runtime.model_file import read_model
from tledge.runtime.sessions import Session
from tledge.verification import flips

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KERAS = "Keras"

COMPARED_VARIANTS = (
    "tflite-fp32",
    "tflite-int8",
    "tflite-mixed",
    "tflite-fp16",
    "tflite-dynamic",
    "onnx-fp32",
    "onnx-int8",
)
"""Variants that predict, in this order, where the run has them. A SavedModel has the same graph as Keras."""


@dataclass(frozen=True)
class PanelPrediction:
    """A model's probabilities of all classes and its latency, or the error that prevented them."""

    model: str
    probabilities: tuple[float, ...] | None
    milliseconds: float = 0.0
    error: str = ""


class Panel:
    """The models of the run at `path`, opened in the background, because Keras takes seconds.

    The prediction of a model that cannot be opened holds the reason.
    """

    def __init__(self, path: Path) -> None:
        self._folder = RunFolder(path)
        run = self._folder.read_run()
        self.input: InputSpec = run.input
        openers: dict[str, Callable[[], Session]] = {KERAS: lambda: KerasSession(self._folder.model)}
        artifacts = {artifact.variant: artifact for artifact in self._folder.read_artifacts()}
        for name in COMPARED_VARIANTS:
            if name in artifacts:
                openers[name] = _opener(self._folder, artifacts[name])
        self._pool = ThreadPoolExecutor(1)  # one after the other, for comparable latencies
        self._sessions = {name: self._pool.submit(opener) for name, opener in openers.items()}
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models, Keras first."""
        return tuple(self._sessions)

    def predict(self, pixels: NDArray[np.uint8]) -> list[PanelPrediction]:
        """Return the prediction of every model for uint8[H, W, 3]; wait until all are open."""
        with self._lock:
            return [_predict(name, session, pixels) for name, session in self._sessions.items()]

    def flips(self) -> list[dict[str, Any]]:
        """Return all artifacts' predictions that differ from Keras, from the lists in `evidence/`."""
        paths = sorted((self._folder.path / "evidence").glob("*-flips.json"))
        listings = map(flips.read_listing, paths)
        return [
            {"variant": listing.variant, **asdict(flip)} for listing in listings for flip in listing.flips
        ]

    def flip_image(self, row: int) -> bytes | None:
        """Return the preprocessed test image of a flip as a PNG; None where `row` is not a flip."""
        from PIL import Image

        if row not in {flip["row"] for flip in self.flips()}:
            return None
        png = BytesIO()
        Image.fromarray(self._golden.images[row]).save(png, "PNG")
        return png.getvalue()

    @cached_property
    def _golden(self) -> golden_set.Golden:
        """The golden set, read once: a page requests many of its images."""
        return self._folder.read_golden()

    def close(self) -> None:
        """Cancel models that are not open yet, and end the process that holds the Keras model."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        opening = self._sessions[KERAS]
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            session = opening.result()
            if isinstance(session, KerasSession):
                session.close()


def _opener(folder: RunFolder, artifact: Artifact) -> Callable[[], Session]:
    """Return a function that opens an artifact; it raises RunError for a missing or changed file."""

    def open_artifact() -> Session:
        path = folder.member(artifact.path)
        model = read_model(path) if path.is_file() else None
        if model is None or model.sha256 != artifact.sha256:
            raise RunError(f"{artifact.path}: missing, or changed since it was exported. Export again.")
        return VARIANTS[artifact.variant].format.open(model, "xnnpack")

    return open_artifact


def _predict(name: str, opening: Future[Session], pixels: NDArray[np.uint8]) -> PanelPrediction:
    try:
        session = opening.result()
        started = time.perf_counter()
        (probabilities,) = session.run(pixels[None])
        milliseconds = 1000 * (time.perf_counter() - started)
        return PanelPrediction(name, tuple(probabilities.tolist()), milliseconds)
    except TledgeError as error:
        return PanelPrediction(name, None, error=str(error))
