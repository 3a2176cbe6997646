"""One artifact against the golden set: structure, answers, verdict, and the cause of a failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import files
from tledge.config import Parity
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.devices import mcu_budget
from tledge.errors import ArtifactError
from tledge.formats.registry import VARIANTS
from tledge.metrics import abstention, parity_gates
from tledge.progress import SILENT, Progress, track
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden
from tledge.run.records import Artifact, ParityRow
from tledge.runtime import sandbox
from tledge.runtime.sessions import Session, runtime_errors_as
from tledge.verification import causes, flips
from tledge.verification import structure as verification_structure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 256
"""Images between two steps of the progress bar; sessions divide them further."""


@dataclass(frozen=True)
class Standard:
    """What every artifact of a run is held to."""

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
) -> ParityRow:
    """Verify one artifact of a run, and list there the answers that are not Keras'.

    Raises MissingError where its runtime is not here.
    """
    variant = VARIANTS[artifact.variant]
    path = folder.path / artifact.path
    if not path.exists():
        return _broken(artifact, [f"{artifact.path} is missing; export again"])
    row = ParityRow(
        artifact.variant, artifact.path, folder.sha256(path), files.size_of(path), "failed",
        gate=variant.mode.gate,
    )  # fmt: skip
    reasons: list[str] = []
    if row.sha256 != artifact.sha256:
        reasons.append("the file changed after it was exported (SHA-256 differs)")
    reasons += inspected(path, row.variant, standard)
    try:
        if reasons and path.is_file():  # no file that an export made: who knows what it does to a runtime
            sandbox.require(path.read_bytes(), path.name, kernels)
        session = variant.format.open(path, kernels)
        found = answers(session, golden.images, artifact.variant, progress)
    except ArtifactError as error:
        return replace(row, structural=True, reasons=(*reasons, str(error)))
    row = _compared(row, session, found, golden, standard)
    if row.images:
        row = replace(row, flips=flips.write(folder.path, row.variant, golden, found, standard.labels))
    reasons += row.reasons
    if not _repeats(session, golden.images):
        reasons.append("answers differently to the same image: something random is in the graph")
    structural = row.structural or len(reasons) > len(row.reasons)
    if structural:
        row = replace(row, verdict="failed", images_needed=None)
    row = replace(row, structural=structural, reasons=tuple(dict.fromkeys(reasons)))
    return _in_budget(row, path, standard.limits)


def _in_budget(row: ParityRow, path: Path, limits: Parity) -> ParityRow:
    """Hold the variant that microcontrollers run to their memory; what cannot be told is undecided."""
    if row.variant != "tflite-int8":
        return row
    over, unknown = mcu_budget.shortfalls(path, limits)
    row = replace(row, reasons=(*row.reasons, *over, *unknown))
    if over:
        return replace(row, verdict="failed", structural=True, images_needed=None)
    return replace(row, verdict="undecided") if unknown and row.verdict == "passed" else row


def inspected(path: Path, variant_name: str, standard: Standard) -> list[str]:
    """What is structurally wrong with the file at `path`, as reasons."""
    variant = VARIANTS[variant_name]
    try:
        structure = variant.format.inspect(path)
    except ArtifactError as error:
        return [str(error)]
    return verification_structure.structure_reasons(
        structure,
        variant.mode,
        labels=standard.labels,
        spec=standard.input,
        parameters=standard.parameters,
        file_bytes=files.size_of(path),
    )


def _broken(artifact: Artifact, reasons: list[str]) -> ParityRow:
    return ParityRow(
        artifact.variant, artifact.path, artifact.sha256, artifact.bytes, "failed",
        structural=True, reasons=tuple(reasons),
    )  # fmt: skip


def _compared(
    row: ParityRow,
    session: Session,
    found: NDArray[np.float32],
    golden: Golden,
    standard: Standard,
) -> ParityRow:
    import numpy as np

    if found.shape != golden.probabilities.shape:
        return replace(row, structural=True, reasons=(f"gives {found.shape[1:]} values an image",))
    if not np.isfinite(found).all():
        return replace(row, reasons=causes.causes(golden, found, standard.labels))
    result = parity_gates.compare_predictions(golden.labels, golden.probabilities, found, standard.labels)
    verdict, reasons = parity_gates.check_parity(result, row.gate, standard.limits)
    needed = parity_gates.images_needed(result, row.gate, standard.limits)
    likely = causes.causes(golden, found, standard.labels) if verdict == "failed" else ()
    return replace(
        _abstaining(row, found, golden, standard.confidence),
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
        reasons=(*likely, *reasons),
        images_needed=needed if verdict == "undecided" and result.images < needed else None,
        ece=result.ece,
        lost=result.regressions,
        won=result.fixes,
        moved=result.still_wrong,
        worst_class=result.worst_class,
        worst_class_change=result.worst_class_change if result.worst_class else None,
        recall=result.recall,
    )


def _abstaining(
    row: ParityRow, found: NDArray[np.float32], golden: Golden, fitted: AbstentionPolicy | None
) -> ParityRow:
    """Add how much of the golden set it answers by the run's threshold, and how much of that is wrong."""
    if fitted is None:
        return row
    before = abstention.answered(golden.probabilities, golden.labels, fitted)
    after = abstention.answered(found, golden.labels, fitted)
    remarks = abstention.remarks(before, after, len(found))
    return replace(row, coverage=after[0], answered_error=after[1], remarks=remarks)


def answers(
    session: Session,
    images: NDArray[np.uint8],
    what: str,
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """Probabilities float32[N, classes] of all images, in chunks, with progress.

    Raises ArtifactError where the artifact loads and then does not run.
    """
    import numpy as np

    starts = range(0, len(images), CHUNK)
    with runtime_errors_as(f"{what}: loads but does not run"):
        parts = [
            session.run(images[start : start + CHUNK])
            for start in track(progress, starts, f"verify {what}", len(starts))
        ]
    return np.concatenate(parts)


def _repeats(session: Session, images: NDArray[np.uint8]) -> bool:
    import numpy as np

    few = images[:4]
    return bool(np.array_equal(session.run(few), session.run(few), equal_nan=True))


def figures(session: Session, golden: Golden, standard: Standard) -> dict[str, Any]:
    """Accuracy and agreement of an artifact that is shown for comparison and not shipped."""
    found = answers(session, golden.images, "for comparison")
    result = parity_gates.compare_predictions(golden.labels, golden.probabilities, found, standard.labels)
    return {"accuracy": result.accuracy, "agreement": result.agreement, "max_abs_dp": result.max_abs_dp}
