"""Predict photos from the field with every artifact of a run or bundle, beside the recorded test figures.

The photos are a folder: with a folder for each label, accuracy is measured; without labels, agreement with
the reference model and confidence. The reference is Keras where it can be opened here, else the artifact
with float weights that is nearest to it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.bundle.signing import PublicKey
from tledge.config import Parity
from tledge.data import photo_folder
from tledge.data.photo_folder import PreparedPhotos
from tledge.errors import ArtifactError, DataError, MissingError, TledgeError
from tledge.metrics import abstention, statistics
from tledge.models.keras_session import KerasSession
from tledge.progress import SILENT, Progress, start_task
from tledge.run.records import SKIPPED
from tledge.runtime.sessions import Session
from tledge.verification.field_models import KERAS, FieldModel, Opening, open_model, openings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEASURED, FAILED = "measured", "failed"

FLOAT_VARIANTS = ("tflite-fp32", "onnx-fp32", "saved_model", "tflite-fp16", "onnx-fp16")
"""Variants that take the place of Keras where it cannot be opened, the nearest first."""

CHUNK = 64
"""Images that are predicted at a time."""

CHANCE = 0.05
"""Two accuracies differ beyond chance where the p of Fisher's exact test is below this."""

AGREEMENT = Parity().int8_agreement
"""Agreement with the reference below which a sentence says so: what the gate of int8 asks for by default."""

MAX_CONFUSIONS = 5
"""Confusions that a report lists, the most frequent first."""


@dataclass(frozen=True)
class FieldRow:
    """One model on the photos; shares are from 0 to 1, and None where they cannot be measured.

    Attributes:
        variant: The artifact's variant, or "keras".
        status: "measured", "failed", or "skipped" where its runtime is missing.
        accuracy: Share of labelled photos that are predicted right; `low` and `high` its Wilson interval.
        recorded_accuracy: That of the recorded test images, of which there are `recorded_images`.
        p: Fisher's exact test of both accuracies.
        agreement: Share of photos with the class of the reference model.
        lost: Photos that only the reference predicts right (regressions); `won` that only this one does
            (fixes); `moved` that both predict wrong, and differently.
        confidence: The mean confidence of the predictions.
        rejected: Share of photos below the confidence threshold.
        recall: By label: number of photos, share predicted right.
        confusion: Photos by label and predicted label, where there are any.
        reason: Why nothing was measured.
    """

    variant: str
    status: str = MEASURED
    kernels: str = ""
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    recorded_accuracy: float | None = None
    recorded_images: int | None = None
    p: float | None = None
    agreement: float | None = None
    agreement_low: float | None = None
    agreement_high: float | None = None
    lost: int | None = None
    won: int | None = None
    moved: int | None = None
    confidence: float | None = None
    rejected: float | None = None
    recall: dict[str, tuple[int, float]] = field(default_factory=dict)
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class FieldReport:
    """Photos from the field, predicted by every artifact.

    Attributes:
        name: The model's name.
        photos: The folder.
        images: Photos that were predicted.
        labelled: Those of them with a label of the model.
        reference: The variant that the others are compared with.
        rows: The reference first, then every artifact.
        summary: Sentences on what the figures say.
        remarks: What was left out, and the limits of these figures.
    """

    name: str
    photos: str
    images: int
    labelled: int
    reference: str
    rows: tuple[FieldRow, ...]
    summary: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Photos:
    """The photos, the class of each (-1 without one), and the model that predicts them."""

    prepared: PreparedPhotos
    classes: NDArray[np.int64]
    model: FieldModel

    @property
    def labelled(self) -> NDArray[np.bool_]:
        return self.classes >= 0


def verify_photos(
    path: Path,
    photos: Path,
    *,
    kernels: str = "xnnpack",
    key: PublicKey | None = None,
    progress: Progress = SILENT,
) -> FieldReport:
    """Predict a folder of photos with every artifact of a run or bundle.

    Photos whose content is that of a training or validation photo are left out where the run's cache is there
    to tell.

    Args:
        path: A run or a bundle.
        photos: The folder; a folder for each label, or photos without labels.
        kernels: The kernel family of LiteRT.
        key: The public key that a bundle must be signed with.
        progress: Receives progress.

    Raises:
        ArtifactError: the bundle is damaged.
        DataError: the folder has no photos to predict.
        RecipeError: there is no such folder, or `path` is neither a run nor a bundle.
    """
    with tempfile.TemporaryDirectory() as scratch:
        model = open_model(path, Path(scratch), key)
        size = (model.input.height, model.input.width)
        prepared = photo_folder.prepare_photos(
            photos, size, model.input.pixel_range, exclude=model.trained_on, progress=progress
        )
        if not prepared.names:
            raise DataError(
                f"{photos}: all {len(prepared.known)} photos are among those that the model was trained on. "
                "Take photos that training did not see."
            )
        classes = _classes(prepared, model.labels, photos)
        return _report(_Photos(prepared, classes, model), photos, kernels, progress)


def _classes(prepared: PreparedPhotos, labels: tuple[str, ...], photos: Path) -> NDArray[np.int64]:
    import numpy as np

    if not prepared.has_labels:
        return np.full(len(prepared.names), -1, np.int64)
    return photo_folder.label_indices(prepared, labels, photos)


def _report(photos: _Photos, folder: Path, kernels: str, progress: Progress) -> FieldReport:
    outputs: dict[str, NDArray[np.float32]] = {}
    rows = []
    for opening in openings(photos.model, kernels):
        row, probabilities = _measure(photos, opening, progress)
        rows.append(row)
        if probabilities is not None:
            outputs[opening.name] = probabilities
    reference = next((name for name in (KERAS, *FLOAT_VARIANTS, *outputs) if name in outputs), "")
    compared = [_compare(row, photos, outputs, reference) for row in rows]
    compared.sort(key=lambda row: row.variant != reference)
    return FieldReport(
        name=photos.model.name,
        photos=str(folder),
        images=len(photos.classes),
        labelled=int(photos.labelled.sum()),
        reference=reference,
        rows=tuple(compared),
        summary=_summary(compared, reference, len(photos.classes)),
        remarks=_remarks(photos, reference),
    )


def _measure(
    photos: _Photos, opening: Opening, progress: Progress
) -> tuple[FieldRow, NDArray[np.float32] | None]:
    """Predict all photos with one model; return its figures and probabilities float32[N, classes]."""
    import numpy as np

    row = FieldRow(opening.name, recorded_accuracy=opening.accuracy, recorded_images=opening.images)
    try:
        session = opening.open()
        probabilities = _predict(session, photos.prepared.images, opening.name, progress)
        if probabilities.shape[1:] != (len(photos.model.labels),) or not np.isfinite(probabilities).all():
            raise ArtifactError(
                f"returns {list(probabilities.shape[1:])} values for {len(photos.model.labels)} labels, or "
                "values that are not numbers"
            )
    except MissingError as error:
        return replace(row, status=SKIPPED, reason=str(error)), None
    except TledgeError as error:
        return replace(row, status=FAILED, reason=str(error)), None
    return _with_figures(replace(row, kernels=session.kernels), photos, probabilities), probabilities


def _predict(
    session: Session, images: NDArray[np.uint8], name: str, progress: Progress
) -> NDArray[np.float32]:
    import numpy as np

    batches = []
    try:
        with start_task(progress, name, len(images)) as task:
            for start in range(0, len(images), CHUNK):
                batches.append(session.run(images[start : start + CHUNK]))
                task.advance(len(batches[-1]))
    finally:
        if isinstance(session, KerasSession):
            session.close()
    return np.concatenate(batches)


def _with_figures(row: FieldRow, photos: _Photos, probabilities: NDArray[np.float32]) -> FieldRow:
    """Add confidence and, of labelled photos, accuracy, recall and confusion."""
    import numpy as np

    policy = photos.model.policy
    confidences = abstention.confidences(probabilities, policy).max(1)
    row = replace(row, confidence=float(confidences.mean()))
    if policy and policy.threshold:
        row = replace(row, rejected=float((confidences < policy.threshold).mean()))
    labels, predicted = photos.classes[photos.labelled], probabilities.argmax(1)[photos.labelled]
    if not len(labels):
        return row
    names = photos.model.labels
    right, count = int((labels == predicted).sum()), len(labels)
    low, high = statistics.wilson(right, count)
    counts = statistics.confusion(labels, predicted, len(names))
    present = np.flatnonzero(counts.sum(1)).tolist()
    row = replace(
        row,
        accuracy=right / count,
        low=low,
        high=high,
        recall={
            names[label]: (int(counts[label].sum()), float(counts[label, label] / counts[label].sum()))
            for label in present
        },
        confusion={
            names[label]: {names[other]: int(counts[label, other]) for other in np.flatnonzero(counts[label])}
            for label in present
        },
    )
    if row.recorded_accuracy is None or not row.recorded_images:
        return row
    recorded = round(row.recorded_accuracy * row.recorded_images)
    return replace(row, p=statistics.fisher(right, count, recorded, row.recorded_images))


def _compare(
    row: FieldRow, photos: _Photos, outputs: Mapping[str, NDArray[np.float32]], reference: str
) -> FieldRow:
    """Add how the predictions differ from those of the reference."""
    if row.variant == reference or row.variant not in outputs:
        return row
    before, after = (outputs[name].argmax(1) for name in (reference, row.variant))
    same = int((before == after).sum())
    low, high = statistics.wilson(same, len(before))
    row = replace(row, agreement=same / len(before), agreement_low=low, agreement_high=high)
    if not photos.labelled.any():
        return row
    labels = photos.classes
    was_right, is_right = (labels == before) & photos.labelled, (labels == after) & photos.labelled
    differ = (before != after) & photos.labelled
    return replace(
        row,
        lost=int((was_right & ~is_right).sum()),
        won=int((is_right & ~was_right).sum()),
        moved=int((differ & ~was_right & ~is_right).sum()),
    )


def _summary(rows: list[FieldRow], reference: str, images: int) -> tuple[str, ...]:
    """Say of each model whether its accuracy here differs from the recorded one beyond chance."""
    sentences = []
    for row in rows:
        if row.p is None or row.accuracy is None or row.recorded_accuracy is None:
            continue
        change = row.accuracy - row.recorded_accuracy
        if row.p < CHANCE:
            word = "worse" if change < 0 else "better"
            sentences.append(
                f"{row.variant} is {word} on these photos than on the test images by {abs(change):.1%}, "
                f"which is beyond chance (Fisher's exact test, p = {row.p:.2g})."
            )
    measured = [row for row in rows if row.p is not None]
    if measured and not sentences:
        sentences.append(
            "No accuracy differs from the recorded one beyond chance (Fisher's exact test, p at least "
            f"{CHANCE})."
        )
    below = [row for row in rows if row.agreement_high is not None and row.agreement_high < AGREEMENT]
    sentences += [
        f"{row.variant} predicts as {reference} on {row.agreement:.1%} of {images} photos, fewer than the "
        f"{AGREEMENT:.0%} that verification asks of int8."
        for row in below
    ]
    return tuple(sentences)


def confusions(row: FieldRow) -> list[tuple[int, str, str]]:
    """Return the most frequent mistakes of a model: number of photos, their label, the predicted label."""
    mistakes = [
        (count, label, predicted)
        for label, by_prediction in row.confusion.items()
        for predicted, count in by_prediction.items()
        if predicted != label
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[0])[:MAX_CONFUSIONS]


def _remarks(photos: _Photos, reference: str) -> tuple[str, ...]:
    prepared, model = photos.prepared, photos.model
    remarks = list(model.remarks)
    if prepared.known:
        remarks.append(
            f"Left out: {_counted(len(prepared.known))} that the model was trained on or validated with, "
            f"such as {prepared.known[0]}."
        )
    tested = sum(digest in model.tested_on for digest in prepared.sha256)
    if tested:
        remarks.append(f"{_counted(tested)} of these are test images of the run: they are not fresh.")
    without = int((~photos.labelled).sum())
    if prepared.has_labels and without:
        remarks.append(
            f"{_counted(without)} have a label that the model lacks, and count for agreement only."
        )
    if not prepared.has_labels:
        remarks.append("The photos have no labels: a folder for each label would show the accuracy.")
    remarks += [f"Not read: {line}" for line in prepared.unreadable[:3]]
    if len(prepared.unreadable) > 3:
        remarks.append(f"Not read: {len(prepared.unreadable) - 3} more.")
    remarks += [f"{line[0].upper()}{line[1:]}." for line in prepared.left_out]
    if reference and reference != KERAS:
        remarks.append(f"Keras was not opened here; {reference} takes its place.")
    return tuple(remarks)


def _counted(count: int) -> str:
    return f"{count} photo" if count == 1 else f"{count} photos"
