"""Open a `.tflite` or `.onnx` file that stands alone, and give it images as it takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tledge._io import files
from tledge.errors import ArtifactError, MissingError
from tledge.formats import input_preprocessing
from tledge.formats.base import Port, Structure
from tledge.formats.input_preprocessing import InputPreprocessing
from tledge.preprocessing.scaling import LUMA, Scaling
from tledge.runtime import sandbox, sessions
from tledge.runtime.latency import Minimum
from tledge.runtime.model_file import ModelSource, read_model
from tledge.runtime.sandbox import OpenedSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROBE_IMAGES, PROBE_SIDE, SEED = 4, 64, 0
"""Number of images that show what a model returns, and their side where it takes any size."""

SUM_TOLERANCE = 0.02
"""Difference from 1 that the sum of float probabilities may have; 8-bit outputs add half a step a class."""

PROBABILITIES, SCORES, LOGITS = "probabilities", "scores", "logits"
"""What a model returns: shares that add up to 1, independent values from 0 to 1, or any numbers."""


@dataclass(frozen=True)
class LooseModel:
    """An opened file with what it says of itself.

    Attributes:
        session: Takes images uint8[N, H, W, 3] in RGB and returns values from 0 to 1 for each class.
        preprocessing: Size, layout and scaling of its input; the scaling is known.
        labels: The labels that the file itself carries; None without any.
        returns: What the file returns: `PROBABILITIES`, `SCORES` or `LOGITS`.
    """

    session: LooseSession
    preprocessing: InputPreprocessing
    labels: tuple[str, ...] | None
    returns: str

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know about scaling, size and outputs."""
        remarks = []
        scaling = self.preprocessing.scaling
        if scaling and not self.session.takes_bytes:
            remarks.append(f"Pixels are scaled as {scaling.name}, from {self.preprocessing.source}.")
        if self.preprocessing.size is None:
            remarks.append(
                "The model takes images of any size: photos are not resized. --image-size resizes them."
            )
        if self.returns == LOGITS:
            remarks.append("The model returns logits; a softmax makes them probabilities.")
        if self.returns == SCORES:
            remarks.append("The model returns a score from 0 to 1 for each label; they do not add up to 1.")
        return tuple(remarks)


class LooseSession:
    """A session that takes RGB bytes of a model that takes something else.

    Attributes:
        kernels: What computes the operators; see `sessions.Session`.
        classes: How many classes it returns; None where the file does not say.
        metadata: The metadata properties of a `.onnx` file.
        takes_bytes: Whether the model takes the RGB bytes as they are.
    """

    def __init__(self, session: OpenedSession, preprocessing: InputPreprocessing, port: Port) -> None:
        self.kernels = session.kernels
        self.metadata: dict[str, str] = getattr(session, "metadata", {})
        self._session, self._preprocessing = session, preprocessing
        self.takes_bytes = _takes_bytes(preprocessing, port)
        self._finish: Callable[[NDArray[np.float32]], NDArray[np.float32]] = _unchanged
        self.classes = 2 if session.classes == 1 else session.classes

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; raises ArtifactError where the model takes images of any size."""
        size = self._preprocessing.size
        if size is None:
            raise ArtifactError("The model takes images of any size. Add --image-size.")
        return size

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict images uint8[N, H, W, 3] in RGB; see `sessions.Session.run`."""
        return self._finish(self._session.run(self.values(images)))

    def latencies(self, images: NDArray[np.uint8], minimum: Minimum) -> list[int]:
        """Time single images where the model is open; scaling them is not part of it."""
        return sandbox.latencies(self._session, self.values(images), minimum)

    def values(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the images as the model takes them: grey, scaled, and in its layout."""
        import numpy as np

        scaling = self._preprocessing.scaling
        assert scaling is not None, "a model with an unknown scaling is not opened"
        colours: NDArray[Any] = _grey(images) if self._preprocessing.channels == 1 else images
        values = colours if self.takes_bytes else scaling.apply(colours)
        if self._preprocessing.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values)

    def learn_outputs(self, last: str) -> str:
        """Find what the model returns from its last operator, or from a few images; and convert it from now.

        Logits get a softmax, and a single value p becomes the two classes 1 - p and p.
        """
        if last == "SOFTMAX":
            return PROBABILITIES
        outputs = self._session.run(self.values(_probe_images(self._preprocessing.size)))
        returns = _kind(outputs)
        is_single = outputs.shape[1:] == (1,)
        if returns == LOGITS:
            self._finish = _two_logits if is_single else _softmax
        elif is_single:
            self._finish = _two_classes
            return PROBABILITIES
        return returns


def _unchanged(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return outputs


def _softmax(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    exponentials = np.exp(outputs - outputs.max(1, keepdims=True))
    probabilities: NDArray[np.float32] = (exponentials / exponentials.sum(1, keepdims=True)).astype(
        np.float32
    )
    return probabilities


def _two_classes(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return np.concatenate([1 - outputs, outputs], 1)


def _two_logits(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return _softmax(np.concatenate([np.zeros_like(outputs), outputs], 1))


def _kind(outputs: NDArray[np.float32]) -> str:
    """Tell what outputs float32[N, classes] are; values that are no numbers count as probabilities."""
    import numpy as np

    if not np.isfinite(outputs).all():
        return PROBABILITIES  # refused later, with the model's name
    if outputs.min() < -SUM_TOLERANCE or outputs.max() > 1 + SUM_TOLERANCE:
        return LOGITS
    tolerance = SUM_TOLERANCE + outputs.shape[-1] / 512
    return PROBABILITIES if (abs(outputs.sum(1) - 1) <= tolerance).all() else SCORES


def _probe_images(size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Return black, white and noise, uint8[4, H, W, 3]."""
    import numpy as np

    shape = (PROBE_IMAGES, *(size or (PROBE_SIDE, PROBE_SIDE)), 3)
    images = np.random.default_rng(SEED).integers(0, 256, shape).astype(np.uint8)
    images[0], images[1] = 0, 255
    return images


def _grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey images uint8[N, H, W, 1] by the weights of ITU-R BT.601, rounded."""
    import numpy as np

    grey: NDArray[np.uint8] = np.rint(images @ np.array(LUMA, np.float64)).astype(np.uint8)
    return grey[..., None]


def _takes_bytes(preprocessing: InputPreprocessing, port: Port) -> bool:
    """Tell whether each byte, scaled and quantized, is that byte again: then it is passed as it is."""
    import numpy as np

    scaling = preprocessing.scaling
    if scaling is None or preprocessing.dtype != "uint8" or scaling.order != "RGB" or scaling.per_channel:
        return False
    every = np.arange(256, dtype=np.uint8)[:, None, None, None]
    values = scaling.apply(every)
    if port.scale:
        values = sessions.quantize(values, port.scale, port.zero_point, np.uint8).astype(np.float32)
    return bool((values == every).all())


def read_structure(source: ModelSource, session: OpenedSession) -> Structure:
    """Inspect a file; where `onnx` is not installed, return what the opened session knows of it."""
    from tledge.formats.registry import FORMATS  # which knows the converters: bundles do without

    model = read_model(source)
    try:
        return FORMATS[files.ending(model.name)[1:]].inspect(model)
    except MissingError:
        port = getattr(session, "input_port", None)
        if port is None:
            raise
        input_ = Port("", port["dtype"], tuple(port["shape"]))
        metadata = dict(getattr(session, "metadata", {}))
        return Structure((input_,), (), {}, (), (), (), None, metadata)


def open_loose(
    source: ModelSource,
    kernels: str = "xnnpack",
    *,
    scaling: Scaling | None = None,
    image_size: tuple[int, int] | None = None,
    parallel: bool = False,
) -> LooseModel:
    """Open a file in another process, with the scaling that it states or that is passed.

    Args:
        source: The path of the file, or the file that was read already.
        kernels: The kernel family of LiteRT.
        scaling: What the user chose; it goes before what the file states.
        image_size: Height and width for a model that takes images of any size.
        parallel: Divide many images over all processors.

    Raises:
        ArtifactError: the file is damaged, does not open, or its input is no image.
        MissingError: its runtime is not installed.
        RecipeError: its scaling is not known, or a choice does not fit it.
    """
    sessions.check_suffix(source)
    model = read_model(source)
    session = sandbox.open_session(model, kernels, parallel=parallel)
    structure = read_structure(model, session)
    stated = input_preprocessing.read_input(structure, model.name)
    preprocessing = input_preprocessing.with_choices(stated, scaling, image_size, model.name)
    if preprocessing.scaling is None:
        raise input_preprocessing.unknown_scaling(preprocessing, model.name)
    loose = LooseSession(session, preprocessing, structure.inputs[0])
    returns = loose.learn_outputs(structure.last)
    return LooseModel(loose, preprocessing, structure.labels, returns)
