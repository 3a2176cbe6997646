"""Top-k of photos with a bundle or a loose model, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tledge import images, runtime
from tledge.errors import DataError
from tledge.reader import Predictor


@dataclass(frozen=True)
class Prediction:
    """One answer: a label and its probability in 0..1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """The best predictions for one photo, or why it could not be read."""

    image: str
    predictions: tuple[Prediction, ...]
    error: str = ""


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
        probabilities = predictor.session.run(pixels[None])[0]
        best = runtime.top_k(probabilities, predictor.labels, top)
        yield Answer(str(photo), tuple(Prediction(label, share) for label, share in best))
