"""All models of a run behind one question: what does each answer to the same pixels?"""

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
from tledge.models import classifier
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

SHOWN = (
    "tflite-fp32",
    "tflite-int8",
    "tflite-mixed",
    "tflite-fp16",
    "tflite-dynamic",
    "onnx-fp32",
    "onnx-int8",
)
"""Variants that are asked, in this order, where the run has them. A SavedModel is Keras' graph once more."""


@dataclass(frozen=True)
class PanelPrediction:
    """What a model said: `probabilities` of all classes after `milliseconds`, or why it did not."""

    model: str
    probabilities: tuple[float, ...] | None
    milliseconds: float = 0.0
    error: str = ""


class Panel:
    """The models of the run at `path`, opened in the background; Keras takes seconds.

    Models that cannot be opened answer with the reason.
    """

    def __init__(self, path: Path) -> None:
        self._folder = RunFolder(path)
        run = self._folder.read_run()
        self.input: InputSpec = run.input
        openers: dict[str, Callable[[], Session]] = {KERAS: lambda: _KerasSession(self._folder.model)}
        artifacts = {one.variant: one for one in self._folder.read_artifacts()}
        for name in SHOWN:
            if name in artifacts:
                openers[name] = _opener(path, artifacts[name])
        self._pool = ThreadPoolExecutor(1)  # one after the other, so that milliseconds mean something
        self._sessions = {name: self._pool.submit(opener) for name, opener in openers.items()}
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """What the models are called, Keras first."""
        return tuple(self._sessions)

    def predict(self, pixels: NDArray[np.uint8]) -> list[PanelPrediction]:
        """What every model answers to uint8[H, W, 3]; waits until all are open."""
        with self._lock:
            return [_predict(name, opened, pixels) for name, opened in self._sessions.items()]

    def flips(self) -> list[dict[str, Any]]:
        """The answers that differ from Keras', of all artifacts, as the lists in `evidence/` have them."""
        paths = sorted((self._folder.path / "evidence").glob("*-flips.json"))
        listings = map(flips.read_listing, paths)
        return [{"variant": one.variant, **asdict(flip)} for one in listings for flip in one.flips]

    def flip_image(self, row: int) -> bytes | None:
        """The prepared test image of a flip as a PNG; None where `row` is no flip."""
        from PIL import Image

        if row not in {one["row"] for one in self.flips()}:
            return None
        out = BytesIO()
        Image.fromarray(self._tested.images[row]).save(out, "PNG")
        return out.getvalue()

    @cached_property
    def _tested(self) -> golden_set.Golden:
        """The golden set, read once: a page asks for many pictures of it."""
        return self._folder.read_golden()

    def close(self) -> None:
        """Open nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _KerasSession:
    """The trained model itself, behind the seam of the artifacts."""

    kernels = "keras"

    def __init__(self, path: Path) -> None:
        self._net = classifier.load(path)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import numpy as np

        return np.asarray(self._net.predict_on_batch(images.astype(np.float32)), np.float32)


def _opener(run: Path, artifact: Artifact) -> Callable[[], Session]:
    def open_artifact() -> Session:
        path = run / artifact.path
        model = read_model(path) if path.is_file() else None
        if model is None or model.sha256 != artifact.sha256:  # a damaged one could crash the server
            raise RunError(f"{artifact.path}: gone or changed since it was exported. Export again.")
        return VARIANTS[artifact.variant].format.open(model, "xnnpack")

    return open_artifact


def _predict(name: str, opened: Future[Session], pixels: NDArray[np.uint8]) -> PanelPrediction:
    try:
        session = opened.result()
        started = time.perf_counter()
        (found,) = session.run(pixels[None])
        return PanelPrediction(name, tuple(found.tolist()), 1000 * (time.perf_counter() - started))
    except TledgeError as error:
        return PanelPrediction(name, None, error=str(error))
