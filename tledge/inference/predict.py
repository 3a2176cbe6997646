"""Predict images with a bundle or a loose model, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.errors import ArtifactError, DataError
from tledge.inference.photo_sources import NamedPhoto
from tledge.inference.photos import read_form
from tledge.inference.predictor import Predictor
from tledge.metrics import abstention
from tledge.preprocessing import image
from tledge.preprocessing.image import preprocess
from tledge.runtime import sessions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tledge.inference.photos import Photo


MAX_OWN_SIDE = 2048
"""Largest side of a photo that a model for any size gets without resizing: more would take its memory."""


@dataclass(frozen=True)
class Prediction:
    """One class that a model predicts for an image.

    Attributes:
        label: The name of the class.
        confidence: Its probability in 0..1 at the temperature that was fitted on validation photos. This is
            the number that every command and page shows. Where no temperature was fitted, it is
            `raw_probability`, and the model's `calibrated` is False.
        raw_probability: What the artifact returns, before the temperature.
    """

    label: str
    confidence: float
    raw_probability: float

    @property
    def probability(self) -> float:
        """The same number as `confidence`."""
        return self.confidence


@dataclass(frozen=True)
class Answer:
    """The most probable predictions for one image, or why it could not be read.

    Attributes:
        image: Its path; empty for an image that was passed as bytes or pixels.
        predictions: The most probable first; empty where the image could not be read.
        error: Why it could not be read; empty otherwise.
        abstained: True where the best prediction is rejected: its confidence is below the bundle's threshold.
    """

    image: str
    predictions: tuple[Prediction, ...]
    error: str = ""
    abstained: bool = False

    @property
    def best(self) -> Prediction:
        """The most probable prediction; raises DataError where the image could not be read."""
        if not self.predictions:
            raise DataError(self.error)
        return self.predictions[0]


def predict(predictor: Predictor, photos: Iterable[Photo], top: int) -> Iterator[Answer]:
    """Predict every image, in order; one that cannot be read gets its error instead.

    Args:
        predictor: The opened model.
        photos: Photos of any size, in any form of `photos.FORMS`.
        top: How many predictions to return for an image at most.

    Yields:
        One `Answer` for each image.

    Raises:
        ArtifactError: the model does not run, or returns no probability for each label.
    """
    for photo in photos:
        try:
            yield predict_image(predictor, photo, top)
        except DataError as error:
            yield Answer(_path_of(photo), (), str(error))


def predict_named(predictor: Predictor, photo: NamedPhoto, top: int) -> tuple[Answer, Photo | None]:
    """Predict a photo that an argument names; return the photo as well, which may be read only once.

    One that cannot be read gets its error instead, and None.
    """
    try:
        form = photo.read()
        return replace(predict_image(predictor, form, top), image=photo.name), form
    except DataError as error:
        return Answer(photo.name, (), str(error)), None


def predict_image(predictor: Predictor, photo: Photo, top: int) -> Answer:
    """Predict one image.

    Args:
        predictor: The opened model.
        photo: A photo of any size, in any form of `photos.FORMS`.
        top: How many predictions to return at most.

    Raises:
        ArtifactError: the model does not run, or returns no probability for each label.
        DataError: there is no such file, it cannot be read, or it is no photo.
    """
    form = read_form(photo, predictor.pixel_range)
    try:
        pixels = (
            preprocess(form, predictor.size, predictor.pixel_range)
            if predictor.size
            else _own_size(form, predictor.pixel_range)
        )
    except FileNotFoundError as error:
        raise DataError(f"{form!s}: no such file.") from error
    except OSError as error:
        raise DataError(f"{form!s}: cannot be read ({error}).") from error
    return _answer(_path_of(photo), predictor, _probabilities(predictor, pixels), top)


def _own_size(photo: Path | bytes | NDArray[np.uint8], pixel_range: tuple[float, ...]) -> NDArray[np.uint8]:
    """Return the pixels of a photo without resizing it, for a model that takes images of any size."""
    if isinstance(photo, Path):
        photo = image.read_photo(photo)
    pixels = image.decode(photo, pixel_range)[0] if isinstance(photo, bytes) else photo
    if max(pixels.shape[:2]) > MAX_OWN_SIDE:
        raise DataError(
            f"{pixels.shape[1]}x{pixels.shape[0]} pixels, for a model that takes any size: at most "
            f"{MAX_OWN_SIDE} a side are predicted without resizing. Add --image-size with the size that the "
            "model was trained with."
        )
    return pixels


def _probabilities(predictor: Predictor, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run the model on uint8[H, W, 3] and check that it returns float32[labels] of finite numbers."""
    import numpy as np

    outputs = predictor.session.run(pixels[None])
    expected = (1, len(predictor.labels))
    if outputs.shape != expected:
        raise ArtifactError(
            f"{predictor.variant}: returns shape {outputs.shape} for an image, expected {expected}."
        )
    if not np.isfinite(outputs).all():
        raise ArtifactError(
            f"{predictor.variant}: returns values that are not numbers. Its weights are damaged."
        )
    probabilities: NDArray[np.float32] = outputs[0]
    return probabilities


def _path_of(photo: Photo) -> str:
    """Return the path of a photo as it was passed; empty for one that is no path."""
    try:
        return str(os.fspath(photo)) if isinstance(photo, (str, os.PathLike)) else ""
    except Exception:  # an object that says it is a path, and is none
        return ""


def _answer(path: str, predictor: Predictor, probabilities: NDArray[np.float32], top: int) -> Answer:
    best = sessions.top_k(probabilities, predictor.labels, top)
    policy = predictor.confidence
    confidences = sorted(abstention.confidences(probabilities, policy).tolist(), reverse=True)
    predictions = tuple(
        Prediction(label, confidence, raw)
        for (label, raw), confidence in zip(best, confidences, strict=False)
    )
    return Answer(path, predictions, abstained=policy is not None and confidences[0] < policy.threshold)
