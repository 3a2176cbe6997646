"""Compare one artifact with Keras on the golden set: structure, predictions, verdict, likely cause."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import files
from tledge.config import Parity
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.devices import mcu_budget
from tledge.errors import ArtifactError, MissingError
from tledge.formats.registry import VARIANTS
from tledge.metrics import abstention, parity_gates
from tledge.progress import SILENT, Progress, track
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden
from tledge.run.records import Artifact, ParityRow
from tledge.runtime.model_file import ModelFile, ModelSource, read_model
from tledge.runtime.sessions import Session, runtime_errors_as
from tledge.verification import causes, flips, independent, structure
from tledge.verification.independent import Evidence
from tledge.verification.reasons import Reasons

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 256
"""Images between two steps of the progress bar; sessions divide them further."""


@dataclass(frozen=True)
class Standard:
    """What every artifact of a run must match: labels, input, size, gates, and the abstention policy."""

    labels: tuple[str, ...]
    input: InputSpec
    parameters: int
    limits: Parity
    confidence: AbstentionPolicy | None = None


def check(
    folder: RunFolder,
    artifact: Artifact,
    golden: Golden,
    standard: Standard,
    *,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
    arena_bytes: int | None = None,
    evidence: Evidence | None = None,
) -> ParityRow:
    """Verify one artifact of a run, and list there the predictions that differ from Keras'.

    Where the test images are too few, `evidence` decides as far as it can.

    The file is read once: what is hashed and inspected is what is opened. `arena_bytes` was measured
    before, for a machine without tflite-micro. Raises MissingError where a library to inspect or to open
    the file is not installed, unless the file is known to be wrong without it.
    """
    variant = VARIANTS[artifact.variant]
    path = folder.member(artifact.path)
    if not path.exists():
        row = ParityRow(artifact.variant, artifact.path, artifact.sha256, artifact.bytes, "failed")
        return Reasons((f"{artifact.path} is missing; export again",)).put_into(row)
    source = read_model(path) if path.is_file() else path
    sha256 = source.sha256 if isinstance(source, ModelFile) else folder.sha256(path)
    row = ParityRow(
        artifact.variant, artifact.path, sha256, _size_of(source), "failed", gate=variant.mode.gate
    )
    reasons = _changed_reasons(row, artifact)
    try:
        reasons += Reasons(tuple(structural_reasons(source, row.variant, standard)))
        session = variant.format.open(source, kernels)
        predictions = predict_all(session, golden.images, artifact.variant, progress)
    except ArtifactError as error:
        return (reasons + Reasons((str(error),))).put_into(row)
    except MissingError:
        if not reasons.structural_reasons:
            raise
        return reasons.put_into(row)  # the file is wrong, whatever it predicts
    row, prediction_reasons = compare_row(row, session, predictions, golden, standard, evidence)
    if row.images:
        row = replace(
            row,
            flips=flips.write(
                folder.path, row.variant, golden, predictions, standard.labels, standard.confidence
            ),
        )
    reasons += prediction_reasons + _repeat_reasons(session, golden.images)
    return _check_memory(row, reasons, path, standard.limits, arena_bytes)


def verdict_at_best(golden: Golden, labels: tuple[str, ...], limits: Parity, more_images: int = 0) -> str:
    """Return the verdict of an int8 artifact that predicts exactly as Keras: no repair can get a better one.

    `more_images` counts the independent images beside the golden set that may verify a repaired artifact.
    """
    perfect = parity_gates.compare_predictions(
        golden.labels, golden.probabilities, golden.probabilities, labels
    )
    verdict, _reasons = parity_gates.check_parity(perfect, "int8", limits)
    if not parity_gates.lacks_only_images(perfect, "int8", limits):
        return verdict
    decided = independent.decide_perfect(perfect, more_images, limits)
    return decided or verdict


def hash_of(source: ModelSource) -> str:
    """Return the SHA-256 of a file that was read, or of the folder of a SavedModel."""
    return source.sha256 if isinstance(source, ModelFile) else files.sha256(source)


def _size_of(source: ModelSource) -> int:
    return len(source.content) if isinstance(source, ModelFile) else files.size_of(source)


def _changed_reasons(row: ParityRow, artifact: Artifact) -> Reasons:
    """Compare the file with the record of its export."""
    is_same = row.sha256 == artifact.sha256
    return Reasons(() if is_same else ("the file changed after it was exported (SHA-256 differs)",))


def _check_memory(
    row: ParityRow, reasons: Reasons, path: Path, limits: Parity, arena_bytes: int | None = None
) -> ParityRow:
    """Put the reasons into the row, with those of the memory limits for the variant of microcontrollers.

    A limit that this machine cannot check makes a verdict "passed" undecided.
    """
    if row.variant != "tflite-int8":
        return reasons.put_into(row)
    found = mcu_budget.shortfalls(path, limits, arena_bytes)
    row = (reasons + Reasons(found.exceeded)).put_into(row)
    row = replace(row, reasons=(*row.reasons, *found.unchecked), arena_bytes=found.arena_bytes)
    if not found.unchecked:
        return row
    verdict = "undecided" if row.verdict == "passed" else row.verdict
    return replace(row, verdict=verdict, provisional=False)  # more images would not settle the limit


def structural_reasons(source: ModelSource, variant_name: str, standard: Standard) -> list[str]:
    """Inspect an artifact without running it, and list what breaks the standard."""
    variant = VARIANTS[variant_name]
    try:
        content = variant.format.inspect(source)
    except ArtifactError as error:
        return [str(error)]
    return structure.structure_reasons(
        content,
        variant.mode,
        labels=standard.labels,
        spec=standard.input,
        parameters=standard.parameters,
        file_bytes=_size_of(source),
    )


def compare_row(
    row: ParityRow,
    session: Session,
    predictions: NDArray[np.float32],
    golden: Golden,
    standard: Standard,
    evidence: Evidence | None = None,
) -> tuple[ParityRow, Reasons]:
    """Return the row with the figures of the predictions and the verdict of their gates, and the reasons."""
    import numpy as np

    if predictions.shape != golden.probabilities.shape:
        return row, Reasons((f"returns {predictions.shape[1:]} values for an image",))
    if not np.isfinite(predictions).all():
        return row, Reasons((), causes.likely_causes(golden, predictions, standard.labels))
    result = parity_gates.compare_predictions(
        golden.labels, golden.probabilities, predictions, standard.labels
    )
    limits = standard.limits
    verdict, reasons = parity_gates.check_parity(result, row.gate, limits)
    needed = parity_gates.images_needed(result, row.gate, limits)
    likely = causes.likely_causes(golden, predictions, standard.labels) if verdict == "failed" else ()
    row = replace(
        _with_coverage(row, predictions, golden, standard.confidence),
        verdict=verdict,
        images=result.images,
        accuracy=result.accuracy,
        accuracy_change=result.accuracy_change,
        change_low=result.accuracy_change_low,
        change_high=result.accuracy_change_high,
        mcnemar_p=result.mcnemar_p,
        agreement=result.agreement,
        agreement_low=result.agreement_low,
        agreement_high=result.agreement_high,
        max_abs_dp=result.max_abs_dp,
        kernels=session.kernels,
        images_needed=needed if verdict == "undecided" and result.images < needed else None,
        independent_images=result.images,
        independent_agreement=result.agreement,
        independent_low=result.agreement_low,
        independent_high=result.agreement_high,
        independent_sources={independent.TEST: result.images},
        ece=result.ece,
        lost=result.regressions,
        won=result.fixes,
        moved=result.still_wrong,
        worst_class=result.worst_class,
        worst_class_change=result.worst_class_change if result.worst_class else None,
        recall=result.recall,
    )
    if parity_gates.lacks_only_images(result, row.gate, limits):

        def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return predict_all(session, images, row.variant)

        row, failed = independent.decide(row, result, predict, predictions, golden, evidence, limits)
        reasons = reasons if row.verdict == "undecided" else failed
    return row, Reasons((), (*likely, *reasons))


def _with_coverage(
    row: ParityRow, predictions: NDArray[np.float32], golden: Golden, policy: AbstentionPolicy | None
) -> ParityRow:
    """Add the coverage at the run's confidence threshold, and the error among the predictions it keeps."""
    if policy is None or not policy.threshold:
        return row
    reference = abstention.coverage_and_error(golden.probabilities, golden.labels, policy)
    coverage, error = abstention.coverage_and_error(predictions, golden.labels, policy)
    remarks = abstention.coverage_remarks(reference, (coverage, error), len(predictions))
    return replace(row, coverage=coverage, answered_error=error, remarks=remarks)


def predict_all(
    session: Session,
    images: NDArray[np.uint8],
    name: str,
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """Predict all images in chunks with progress; return probabilities float32[N, classes].

    Raises ArtifactError where the artifact loads but does not run.
    """
    import numpy as np

    starts = range(0, len(images), CHUNK)
    with runtime_errors_as(f"{name}: loads but does not run"):
        chunks = [
            session.run(images[start : start + CHUNK])
            for start in track(progress, starts, f"verify {name}", len(starts))
        ]
    return np.concatenate(chunks)


def _repeat_reasons(session: Session, images: NDArray[np.uint8]) -> Reasons:
    """Predict a few images twice: the same image must give the same probabilities."""
    import numpy as np

    few = images[:4]
    if np.array_equal(session.run(few), session.run(few), equal_nan=True):
        return Reasons()
    return Reasons(("predicts differently for the same image: a random operator is in the graph",))


def comparison_figures(session: Session, golden: Golden, standard: Standard) -> dict[str, Any]:
    """Compute accuracy and agreement of an artifact that is shown for comparison and not shipped."""
    predictions = predict_all(session, golden.images, "for comparison")
    result = parity_gates.compare_predictions(
        golden.labels, golden.probabilities, predictions, standard.labels
    )
    return {"accuracy": result.accuracy, "agreement": result.agreement, "max_abs_dp": result.max_abs_dp}
