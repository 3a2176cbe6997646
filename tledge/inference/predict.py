"""Top-k of photos with a bundle or a loose model, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.errors import ArtifactError, DataError
from tledge.inference.predictor import Predictor
from tledge.metrics import abstention
from tledge.preprocessing import image as preprocessing_image
from tledge.runtime import sessions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Photo = Path | bytes | NDArray[np.uint8]
    """A file, an encoded photo, or pixels uint8[H, W, 3] in RGB."""


@dataclass(frozen=True)
class Prediction:
    """One answer: a label, its probability in 0..1 as the artifact gives it, and its confidence.

    Confidence is the probability at the bundle's temperature; a loose file's is its probability.
    """

    label: str
    probability: float
    confidence: float


@dataclass(frozen=True)
class Answer:
    """The best predictions for one photo, or why it could not be read.

    `image` is its path, empty for a photo that came as bytes or pixels.
    `abstained`: the best one's confidence is below the bundle's threshold, so it is no answer.
    """

    image: str
    predictions: tuple[Prediction, ...]
    error: str = ""
    abstained: bool = False

    @property
    def best(self) -> Prediction:
        """The most probable answer; raises DataError where the photo could not be read."""
        if not self.predictions:
            raise DataError(self.error)
        return self.predictions[0]


def predict(predictor: Predictor, photos: Iterable[Photo], top: int) -> Iterator[Answer]:
    """Answer for every photo, in order; one that does not decode gets its error instead."""
    for photo in photos:
        try:
            yield answer(predictor, photo, top)
        except FileNotFoundError:
            yield Answer(_name(photo), (), f"{photo!s}: no such file.")
        except (DataError, OSError) as error:
            yield Answer(_name(photo), (), str(error))


def answer(predictor: Predictor, photo: Photo, top: int) -> Answer:
    """Answer for one photo; raises what `image.preprocess` raises where it cannot be read.

    Raises ArtifactError where the model gives other than a number for each label.
    """
    pixels = preprocessing_image.preprocess(photo, predictor.size)
    return _answer(_name(photo), predictor, _probabilities(predictor, pixels), top)


def _probabilities(predictor: Predictor, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the model says to uint8[H, W, 3]; raises ArtifactError where that is no number for each label."""
    import numpy as np

    found = predictor.session.run(pixels[None])
    wanted = (1, len(predictor.labels))
    if found.shape != wanted:
        raise ArtifactError(
            f"{predictor.variant}: gives values {found.shape} for an image, expected {wanted}."
        )
    if not np.isfinite(found).all():
        raise ArtifactError(f"{predictor.variant}: answers what is no number. Its weights are damaged.")
    row: NDArray[np.float32] = found[0]
    return row


def _name(photo: Photo) -> str:
    return str(photo) if isinstance(photo, Path) else ""


def _answer(photo: str, predictor: Predictor, probabilities: NDArray[np.float32], top: int) -> Answer:
    best = sessions.top_k(probabilities, predictor.labels, top)
    fitted = predictor.confidence
    if fitted is None:
        return Answer(photo, tuple(Prediction(label, share, share) for label, share in best))
    sure = sorted(abstention.temperature_scaled(probabilities, fitted.temperature).tolist(), reverse=True)
    found = (Prediction(label, share, one) for (label, share), one in zip(best, sure, strict=False))
    return Answer(photo, tuple(found), abstained=sure[0] < fitted.threshold)
