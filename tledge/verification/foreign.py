"""Verify a conversion that someone else made: a `.tflite` or `.onnx` file beside the Keras model of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import file_guard
from tledge.config import Parity
from tledge.data.labels import comparable, parse_labels_file
from tledge.errors import ArtifactError, RecipeError
from tledge.formats import input_preprocessing
from tledge.formats.base import Structure
from tledge.formats.input_preprocessing import InputPreprocessing
from tledge.formats.loose_model import LooseSession, read_structure
from tledge.metrics import scaling_choice, statistics
from tledge.preprocessing import image
from tledge.preprocessing.scaling import SCALINGS, Scaling
from tledge.progress import SILENT, Progress
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden
from tledge.run.records import ParityReport, ParityRow, Reference
from tledge.runtime import sandbox, sessions
from tledge.runtime.model_file import ModelFile, read_model
from tledge.runtime.sandbox import OpenedSession
from tledge.verification import parity, structure
from tledge.verification.parity import Standard
from tledge.verification.reasons import Reasons

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INTEGER_NAME = re.compile(r"(?i)(?:^|[^a-z])(?:u?int8|i8|w8a8|quant|quantized|edgetpu|full_integer)")
"""Parts of a file's name that promise integers."""

TRIED_IMAGES = 128
"""Test images on which other scalings are tried, to name the likely cause."""

CLEARLY_BETTER = 0.05
"""Agreement by which another scaling must be better to be named as the cause."""

MAX_LABELS = 1 << 20
"""Bytes of a `labels.txt` beside the file."""


@dataclass(frozen=True)
class _Foreign:
    """The opened file: its session, what was read of it, and how it takes pixels."""

    file: ModelFile
    session: OpenedSession
    structure: Structure
    preprocessing: InputPreprocessing

    def scaled(self, scaling: Scaling) -> LooseSession:
        """Return a session for RGB bytes with this scaling, which returns probabilities."""
        taken = replace(self.preprocessing, scaling=scaling)
        session = LooseSession(self.session, taken, self.structure.inputs[0])
        session.learn_outputs(self.structure.last)
        return session


def verify_foreign(
    path: Path,
    folder: RunFolder,
    limits: Parity,
    *,
    kernels: str = "xnnpack",
    scaling: Scaling | None = None,
    image_size: tuple[int, int] | None = None,
    progress: Progress = SILENT,
) -> ParityReport:
    """Compare a file that another tool converted with the Keras model of a run, on its test images.

    Where the file does not say how its pixels are scaled, the scaling is taken with which it predicts as
    Keras, if one is better than all others beyond doubt; a remark says so.

    Args:
        path: The `.tflite` or `.onnx` file; a `labels.txt` beside it is read.
        folder: The run whose model it should be.
        limits: The gates of the run's recipe.
        kernels: The kernel family of LiteRT.
        scaling: How the file takes pixels; it goes before what the file says.
        image_size: Height and width for a file that takes images of any size.
        progress: Receives progress.

    Returns:
        A report of one row, under the file's name; nothing is written into the run.

    Raises:
        ArtifactError: the file is damaged, does not open, or takes no images.
        MissingError: its runtime is not installed.
        RecipeError: it does not say how its pixels are scaled, and the test images do not show it.
    """
    run, golden = folder.read_run(), folder.read_golden()
    standard = Standard(run.labels, run.input, run.parameters, limits, run.confidence)
    foreign = _open(path, kernels, scaling, image_size or (run.input.height, run.input.width))
    reference = Reference(
        float((golden.probabilities.argmax(1) == golden.labels).mean()), len(golden.labels),
        statistics.calibration_error(golden.probabilities, golden.labels),
    )  # fmt: skip
    row = ParityRow(
        path.stem, str(path), foreign.file.sha256, len(foreign.file.content), "failed",
        gate=_gate(foreign.structure, path.stem),
    )  # fmt: skip
    reasons = Reasons(tuple(_structural(foreign.structure, path, run.labels)))
    images, remarks = _images(foreign, golden, (run.input.height, run.input.width))
    chosen, how = _scaling(foreign, images, golden)
    session = foreign.scaled(chosen)
    predictions = parity.predict_all(session, images, path.name, progress)
    order = _own_order(foreign.structure, path, run.labels)
    if order and predictions.shape[1:] == (len(order),):
        predictions = predictions[:, order]
    row, compared = parity.compare_row(row, session, predictions, golden, standard)
    if row.verdict == "failed" and row.images:
        cause = _other_scaling(foreign, chosen, images, golden, row.agreement or 0.0)
        compared = Reasons((), (cause,) if cause else ()) + compared
    row = (reasons + compared).put_into(row)
    row = replace(row, provisional=False, remarks=(*row.remarks, *how, *remarks))
    return ParityReport(passed=row.verdict == "passed", reference=reference, rows=(row,))


def _open(path: Path, kernels: str, scaling: Scaling | None, size: tuple[int, int]) -> _Foreign:
    sessions.check_suffix(path)
    file = read_model(path)
    session = sandbox.open_session(file, kernels, parallel=True)
    content = read_structure(file, session)
    stated = input_preprocessing.read_input(content, file.name)
    wanted = size if stated.size is None else None
    taken = input_preprocessing.with_choices(stated, scaling, wanted, file.name)
    return _Foreign(file, session, content, taken)


def _gate(content: Structure, name: str) -> str:
    """Return the gates that apply: those of int8 for integer weights, or where the name promises integers."""
    main = max(content.weights, key=lambda dtype: content.weights[dtype], default="float32")
    if main in ("int8", "uint8", "int4") or INTEGER_NAME.search(name):
        return "int8"
    return "fp16" if main == "float16" else "float"


def _structural(content: Structure, path: Path, labels: tuple[str, ...]) -> list[str]:
    """List what is wrong in the file itself."""
    reasons = list(structure.operator_reasons(content.operators))
    if len(content.inputs) != 1 or len(content.outputs) > 1:
        reasons.append(
            f"has {len(content.inputs)} inputs and {len(content.outputs)} outputs, expected one each"
        )
    returned = content.outputs[0].shape[-1] if content.outputs and content.outputs[0].shape else len(labels)
    is_binary = returned == 1 and len(labels) == 2
    if returned not in (len(labels), -1) and not is_binary:
        reasons.append(
            f"returns {returned} values, and the run has {len(labels)} labels: {', '.join(labels)}"
        )
    floats = sum(content.weights.get(dtype, 0) for dtype in ("float32", "float16"))
    total = sum(content.weights.values())
    if INTEGER_NAME.search(path.stem) and total and floats > 0.5 * total:
        reasons.append(
            f"a float model under an integer name: {floats / total:.0%} of its weights are floats; an empty "
            "calibration set, or none, gives one"
        )
    own = _own_labels(content, path)
    if own and set(comparable(own)) != set(comparable(labels)):
        missing = [label for label in labels if label not in own]
        reasons.append(
            f"its labels are others than those of the run: {len(own)} instead of {len(labels)}"
            + (f", without {', '.join(missing[:3])}" if missing else "")
        )
    return reasons + [f"all weights of {name} are zero" for name in content.zeroed[: structure.MAX_REASONS]]


def _own_labels(content: Structure, path: Path) -> tuple[str, ...]:
    """Return the labels inside the file, else those of the `labels.txt` beside it, else none."""
    beside = path.with_name("labels.txt")
    if content.labels or not beside.is_file():
        return content.labels or ()
    try:
        data = file_guard.read_bytes(beside, follow=True, limit=MAX_LABELS, error=ArtifactError)
        return parse_labels_file(data)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{beside}: not a list of labels ({error}).") from error


def _own_order(content: Structure, path: Path, labels: tuple[str, ...]) -> list[int]:
    """Return where each label of the run stands in the file's own order; none where it lacks one."""
    own, wanted = comparable(_own_labels(content, path)), comparable(labels)
    return [own.index(label) for label in wanted] if sorted(own) == sorted(wanted) else []


def _images(
    foreign: _Foreign, golden: Golden, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the test images as the file takes them, and a remark where it takes another size."""
    import numpy as np

    taken = foreign.preprocessing.size
    if taken is None or taken == size:
        return golden.images, ()
    resized = np.stack([image.preprocess(pixels, taken) for pixels in golden.images])
    return resized, (
        f"takes images of {taken[0]} x {taken[1]}, and Keras of {size[0]} x {size[1]}: the test images are "
        "resized once more, which costs some agreement",
    )


def _scaling(foreign: _Foreign, images: NDArray[np.uint8], golden: Golden) -> tuple[Scaling, tuple[str, ...]]:
    """Return the scaling that the file states, else that with which it predicts as Keras, and a remark."""
    stated = foreign.preprocessing.scaling
    if stated is not None:
        return stated, (f"pixels are scaled as {stated.name}, from {foreign.preprocessing.source}",)
    choice = _try_scalings(foreign, images, golden, SCALINGS)
    chosen = next((scaling for scaling in SCALINGS if scaling.name == choice.chosen), None)
    if chosen is None:
        error = input_preprocessing.unknown_scaling(foreign.preprocessing, foreign.file.name)
        why = choice.reason.replace("labelled photos", "test images")
        raise RecipeError(f"{error} The test images do not show it: {why}.")
    return chosen, (
        f"does not say how its pixels are scaled; with {chosen.name} it predicts most as Keras. An app must "
        "know that: state it in the metadata",
    )


def _other_scaling(
    foreign: _Foreign, used: Scaling, images: NDArray[np.uint8], golden: Golden, agreement: float
) -> str:
    """Name another scaling with which the file agrees with Keras beyond doubt better; "" without one."""
    others = [known for known in SCALINGS if not (known.has_values_of(used) and known.order == used.order)]
    choice = _try_scalings(foreign, images, golden, [used, *others])
    best = choice.scores[0]
    if choice.chosen in (None, used.name) or best.accuracy < agreement + CLEARLY_BETTER:
        return ""
    chosen = next(known for known in others if known.name == choice.chosen)
    kind = (
        f"its channels are taken as {used.order}, and it wants {chosen.order}"
        if chosen.has_values_of(used)
        else f"its pixels are scaled as {used.name}, and it wants {chosen.name}"
    )
    return f"{kind}: with that it agrees with Keras on {best.accuracy:.1%} of {best.images} images"


def _try_scalings(
    foreign: _Foreign, images: NDArray[np.uint8], golden: Golden, scalings: Sequence[Scaling]
) -> scaling_choice.Choice:
    """Compare the classes that the file predicts with each scaling with those of Keras."""
    grey = foreign.preprocessing.channels == 1
    usable = [
        scaling for scaling in scalings if not (grey and (scaling.per_channel or scaling.order == "BGR"))
    ]
    some = images[:TRIED_IMAGES]
    predictions = {scaling.name: foreign.scaled(scaling).run(some).argmax(1) for scaling in usable}
    return scaling_choice.choose(golden.probabilities[:TRIED_IMAGES].argmax(1), predictions)
