"""Top-k of photos with a bundle or a loose model, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge import confidence, images, runtime
from tledge.errors import DataError
from tledge.reader import Predictor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

    `abstained`: the best one's confidence is below the bundle's threshold, so it is no answer.
    """

    image: str
    predictions: tuple[Prediction, ...]
    error: str = ""
    abstained: bool = False


def predict(predictor: Predictor, photos: Sequence[Path], top: int) -> Iterator[Answer]:
    """Answer for every photo, in order; one that does not decode gets its error instead."""
    for photo in photos:
        try:
            pixels = images.prepare(photo, predictor.size)
        except FileNotFoundError:
            yield Answer(str(photo), (), f"{photo}: no such file.")
            continue
        except (DataError, OSError) as error:
            yield Answer(str(photo), (), str(error))
            continue
        yield _answer(str(photo), predictor, predictor.session.run(pixels[None])[0], top)


def _answer(photo: str, predictor: Predictor, probabilities: NDArray[np.float32], top: int) -> Answer:
    best = runtime.top_k(probabilities, predictor.labels, top)
    fitted = predictor.confidence
    if fitted is None:
        return Answer(photo, tuple(Prediction(label, share, share) for label, share in best))
    sure = sorted(confidence.scaled(probabilities, fitted.temperature).tolist(), reverse=True)
    found = (Prediction(label, share, one) for (label, share), one in zip(best, sure, strict=False))
    return Answer(photo, tuple(found), abstained=sure[0] < fitted.threshold)
