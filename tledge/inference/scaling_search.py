"""Find the scaling of a loose model by labelled photos: try each known one, and choose only beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.data import photo_folder
from tledge.errors import RecipeError
from tledge.formats import input_preprocessing
from tledge.formats.base import Port
from tledge.formats.input_preprocessing import InputPreprocessing
from tledge.formats.loose_model import LooseSession, read_structure
from tledge.inference.predictor import labels_beside
from tledge.metrics import scaling_choice
from tledge.metrics.scaling_choice import Choice
from tledge.preprocessing.scaling import SCALINGS, Scaling, parse_scaling
from tledge.progress import SILENT, Progress, track
from tledge.runtime import sandbox, sessions
from tledge.runtime.model_file import read_model
from tledge.runtime.sandbox import OpenedSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 64
"""Images that are scaled at a time."""


@dataclass(frozen=True)
class FoundScaling:
    """What trying every scaling on labelled photos showed; `scaling` is None where that decides nothing."""

    scaling: Scaling | None
    choice: Choice

    def require(self, path: Path) -> Scaling:
        """Return the scaling; raise RecipeError with the reason where the photos do not choose one."""
        if self.scaling:
            return self.scaling
        raise RecipeError(
            f"{path}: {self.choice.reason}. Take more labelled photos, or name the scaling that the model "
            f"was trained with: --scaling {self.choice.scores[0].name}, for example."
        )


def find_scaling(
    path: Path,
    photos: Path,
    *,
    kernels: str = "xnnpack",
    image_size: tuple[int, int] | None = None,
    progress: Progress = SILENT,
) -> FoundScaling:
    """Predict labelled photos with every known scaling of a model's input, and choose one if it is clear.

    Args:
        path: A `.tflite` or `.onnx` file, its labels inside or in a `labels.txt` beside it.
        photos: A folder of photos with a folder for each label.
        kernels: The kernel family of LiteRT.
        image_size: Height and width for a model that takes images of any size.
        progress: Receives progress.

    Raises:
        ArtifactError: the file is damaged or does not run.
        DataError: the folder has no photos with labels of the model.
        RecipeError: the model takes any size and none was chosen.
    """
    sessions.check_suffix(path)
    model = read_model(path)
    session = sandbox.open_session(model, kernels, parallel=True)
    structure = read_structure(model, session)
    stated = input_preprocessing.read_input(structure, model.name)
    sized = input_preprocessing.with_choices(stated, None, image_size, model.name)
    if sized.size is None:
        raise RecipeError(f"{path}: takes images of any size. Add --image-size for --scaling auto.")
    candidates = _candidates(sized)
    first = LooseSession(session, replace(sized, scaling=candidates[0]), structure.inputs[0])
    names = structure.labels or labels_beside(first, path)
    prepared = photo_folder.prepare_photos(photos, sized.size, progress=progress)
    if not prepared.has_labels:
        raise RecipeError(f"{photos}: --scaling auto needs labels: a folder of photos for each label.")
    labels = photo_folder.label_indices(prepared, names, photos)
    images, known = prepared.images[labels >= 0], labels[labels >= 0]
    predictions = {
        scaling.name: _predict(session, replace(sized, scaling=scaling), structure.inputs[0], images)
        for scaling in track(progress, candidates, "try scalings", len(candidates))
    }
    return decide(scaling_choice.choose(known, predictions))


def decide(choice: Choice) -> FoundScaling:
    """Return the chosen scaling, unless one with other values predicts the same for every photo."""
    if choice.chosen is None:
        return FoundScaling(None, choice)
    chosen = parse_scaling(choice.chosen)
    others = [name for name in choice.equals if not chosen.has_values_of(parse_scaling(name))]
    if others:
        reason = f"{chosen.name} and {others[0]} predict the same for every photo, with other probabilities"
        return FoundScaling(None, replace(choice, chosen=None, reason=reason))
    return FoundScaling(chosen, choice)


def _candidates(preprocessing: InputPreprocessing) -> list[Scaling]:
    """Return the known scalings that the input can take."""
    if preprocessing.channels == 1:
        return [scaling for scaling in SCALINGS if not scaling.per_channel and scaling.order == "RGB"]
    is_byte = preprocessing.source == input_preprocessing.BYTE_INPUT
    return [scaling for scaling in SCALINGS if not is_byte or scaling.has_values_of(SCALINGS[0])]


def _predict(
    session: OpenedSession, preprocessing: InputPreprocessing, port: Port, images: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Return the class that the model predicts for each image with one scaling, int64[N]."""
    import numpy as np

    scaled = LooseSession(session, preprocessing, port)
    scaled.learn_outputs("")
    batches = [scaled.run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    predicted: NDArray[np.int64] = np.concatenate(batches).argmax(1).astype(np.int64)
    return predicted
