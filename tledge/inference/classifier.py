"""An opened model as `import tledge` offers it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from tledge._io.resource_errors import system_errors_explained
from tledge.errors import RecipeError
from tledge.inference.predict import Answer, predict, predict_image
from tledge.inference.predictor import Predictor
from tledge.recipe import arguments

if TYPE_CHECKING:
    from tledge.inference.photos import Photo


class Classifier:
    """An opened model that predicts photos; `load` opens one."""

    def __init__(self, predictor: Predictor) -> None:
        if not isinstance(predictor, Predictor):
            raise RecipeError("Classifier: open a model with tledge.load(PATH) instead.")
        self._predictor = predictor

    def __repr__(self) -> str:
        return f"Classifier({self.variant}, labels={list(self.labels)}, size={self.size})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the classes, in the order of the model's output."""
        return self._predictor.labels

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width in pixels to which photos are resized; None for a single file that takes any."""
        return self._predictor.size

    @property
    def variant(self) -> str:
        """Variant of the opened artifact, such as `tflite-int8`; the file's name for a single file."""
        return self._predictor.variant

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes for the user, such as: trained on synthetic photos, bundled without passing verification."""
        return self._predictor.remarks

    @property
    def calibrated(self) -> bool:
        """Whether confidences are calibrated; False for a single file, whose raw probabilities they are."""
        return self._predictor.calibrated

    @overload
    def predict(self, photo: Photo, top: SupportsIndex = 3) -> Answer: ...

    @overload
    def predict(self, photo: list[Any] | tuple[Photo, ...], top: SupportsIndex = 3) -> list[Answer]: ...

    @system_errors_explained
    def predict(
        self, photo: Photo | list[Any] | tuple[Photo, ...], top: SupportsIndex = 3
    ) -> Answer | list[Answer]:
        """Predict one photo, or each photo of a list or tuple.

        Args:
            photo: A path, the bytes of an encoded photo, an image of Pillow, or pixels uint8[H, W, 3] in RGB;
                or a list or tuple of these.
            top: How many labels to return at most, the most probable first; a whole number from 1.

        Returns:
            The predictions with their confidence, as every command shows it, and whether the model is unsure
            (`abstained`). What the artifact itself returns is `raw_probability`. For a list, a list of these,
            as `predict_all` gives them.

        Raises:
            DataError: For one photo: there is no such file, it cannot be decoded, or the pixels have another
                type or shape.
            RecipeError: `top` is not a whole number from 1.
        """
        if isinstance(photo, (list, tuple)):
            return list(predict(self._predictor, photo, arguments.count(top, "top")))
        return predict_image(self._predictor, photo, arguments.count(top, "top"))

    @system_errors_explained
    def predict_all(self, photos: Iterable[Photo], top: SupportsIndex = 3) -> Iterator[Answer]:
        """Predict many photos, in order, each when its answer is asked for.

        Args:
            photos: A list or another iterable of photos as in `predict`, also pixels uint8[N, H, W, 3].
            top: How many labels to return for each at most; a whole number from 1.

        Returns:
            An iterator with an answer for each photo; one that cannot be read has an `error` and no
            predictions.

        Raises:
            RecipeError: `photos` is a single photo, or `top` is not a whole number from 1.
        """
        several = arguments.several(photos, "photos", "For a single photo use predict(photo).")
        return predict(self._predictor, several, arguments.count(top, "top"))
