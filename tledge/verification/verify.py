"""Verify artifacts: those of a run against its golden set, or those of a bundle against the bundle's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract
from tledge._io import files
from tledge.bundle.contents import extract_artifact
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import Bundle, open_bundle
from tledge.bundle.signing import PublicKey
from tledge.config import Parity
from tledge.contract import AbstentionPolicy
from tledge.errors import (
    ArtifactError,
    DataError,
    InconclusiveError,
    MissingError,
    ParityFailed,
    RunError,
    TledgeError,
)
from tledge.formats.registry import VARIANTS
from tledge.metrics import abstention, statistics
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress, track
from tledge.run import golden_set
from tledge.run.folder import UNCORRECTED, RunFolder, alone
from tledge.run.records import SKIPPED, Artifact, ParityReport, ParityRow, Reference
from tledge.verification import earlier_verdicts, flips, independent, parity, stress
from tledge.verification.independent import Evidence
from tledge.verification.parity import Standard
from tledge.verification.reasons import Reasons

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@alone
def verify_run(
    folder: RunFolder,
    limits: Parity,
    *,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> ParityReport:
    """Verify every artifact of a run against the golden set, and write `parity.json` and the flips.

    What `stress_run` found of the same files counts too. An artifact whose runtime is missing here is
    "skipped" in the report, and keeps in `parity.json` the verdict that the same file got before. Raises
    RunError where there is nothing to verify.
    """
    run = folder.read_run()
    reference = folder.read_golden()
    standard = Standard(run.labels, run.input, run.parameters, limits, run.confidence)
    artifacts = [artifact for artifact in folder.read_artifacts() if artifact.variant in VARIANTS]
    if not artifacts:
        raise RunError(f"{folder.path}: no artifacts to verify. Run `tledge export {folder.path}`.")
    order = list(VARIANTS)
    artifacts.sort(key=lambda artifact: order.index(artifact.variant))
    earlier = [earlier_verdicts.earlier_row(folder, artifact) for artifact in artifacts]
    rows = []
    found = independent.read(folder, golden_set.fingerprint(reference))
    for artifact, before in zip(artifacts, earlier, strict=True):
        arena = before.arena_bytes if before else None
        evidence = independent.evidence_for(artifact, found)
        row = _row(folder, artifact, reference, standard, kernels, progress, arena, evidence)
        row = stress.with_stress(folder, row, limits)
        rows.append(_with_uncorrected(folder, row, artifact, reference, standard))
    figures = _reference_figures(reference, run.confidence)
    recorded = earlier_verdicts.recorded_rows(rows, earlier)
    flips.keep_only(folder.path, [row.flips for row in recorded])
    files.write_json(folder.parity, _report(figures, recorded))
    return _report(figures, list(map(earlier_verdicts.with_remark, rows, earlier)))


def _reference_figures(reference: golden_set.Golden, policy: AbstentionPolicy | None) -> Reference:
    """Compute what Keras scores on the golden set."""
    right = reference.probabilities.argmax(1) == reference.labels
    ece = statistics.calibration_error(reference.probabilities, reference.labels)
    figures = Reference(float(right.mean()), len(right), ece)
    if policy is None or not policy.threshold:
        return figures
    coverage, error = abstention.coverage_and_error(reference.probabilities, reference.labels, policy)
    return replace(figures, coverage=coverage, answered_error=error)


def _report(reference: Reference, rows: Sequence[ParityRow]) -> ParityReport:
    """Build the report; it passes where something was checked and all that was checked passed."""
    checked = [row.verdict == "passed" for row in rows if row.verdict != SKIPPED]
    return ParityReport(passed=bool(checked) and all(checked), reference=reference, rows=tuple(rows))


def failure(report: ParityReport, why: str = "") -> TledgeError:
    """Build the error that a command ends with for a report that did not pass.

    Args:
        report: The report.
        why: Replaces the reasons, where they were shown before.

    Returns:
        An ArtifactError where any artifact has structural reasons, a MissingError where no artifact could
        be checked, a ParityFailed where any artifact failed, else an InconclusiveError.
    """
    bad = [row for row in report.rows if row.verdict not in ("passed", SKIPPED)]
    reasons = (f"{row.variant}: {reason}" for row in bad or report.rows for reason in row.reasons)
    details = why or " ".join(reasons)
    if not bad:
        return MissingError(f"No artifact could be checked here. {details}")
    names = ", ".join(row.variant for row in bad)
    if any(row.structural for row in bad):
        return ArtifactError(f"verification failed: {names}. {details}")
    if any(row.verdict == "failed" for row in bad):
        return ParityFailed(f"verification did not pass: {names}. {details}")
    return InconclusiveError(f"verification is inconclusive: {names}. {details}")


def _row(
    folder: RunFolder,
    artifact: Artifact,
    reference: golden_set.Golden,
    standard: Standard,
    kernels: str,
    progress: Progress,
    arena_bytes: int | None,
    evidence: Evidence | None,
) -> ParityRow:
    try:
        return parity.check(
            folder, artifact, reference, standard,
            kernels=kernels, progress=progress, arena_bytes=arena_bytes, evidence=evidence,
        )  # fmt: skip
    except MissingError as error:
        return ParityRow(
            artifact.variant, artifact.path, artifact.sha256, artifact.bytes, SKIPPED,
            reasons=(str(error),),
        )  # fmt: skip


def _with_uncorrected(
    folder: RunFolder,
    row: ParityRow,
    artifact: Artifact,
    reference: golden_set.Golden,
    standard: Standard,
) -> ParityRow:
    """Add the figures of the same conversion without bias correction, where the export kept its file."""
    path = folder.member(str(artifact.details.get(UNCORRECTED, "")))
    if UNCORRECTED not in artifact.details or not path.is_file():
        return row
    try:
        session = VARIANTS[artifact.variant].format.open(path, row.kernels or "xnnpack")
        figures = parity.comparison_figures(session, reference, standard)
    except TledgeError:
        return row  # evidence only: a damaged extra file must not fail the shipped one
    return replace(row, without_bias_correction=figures)


def verify_bundle(
    path: Path,
    *,
    key: PublicKey | None = None,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> ParityReport:
    """Verify a bundle on this machine: hashes, labels, preprocessing, structure, golden predictions.

    Raises ArtifactError for damage that concerns the bundle as a whole, and where `key` is passed and its
    owner did not sign the bundle as it is.
    """
    with contradictions_explained(path):
        return verify_opened(open_bundle(path, key), kernels=kernels, progress=progress)


@contextmanager
def contradictions_explained(path: Path) -> Iterator[None]:
    """Raise an ArtifactError that names the bundle where its files do not fit together."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, MemoryError, DataError) as error:
        raise ArtifactError(f"{path}: the bundle contradicts itself ({error!r}).") from error


def verify_opened(bundle: Bundle, *, kernels: str = "xnnpack", progress: Progress = SILENT) -> ParityReport:
    """Verify a bundle that is open already, as `verify_bundle` does."""
    with contradictions_explained(bundle.path):
        return _verify_bundle(bundle, kernels, progress)


def _verify_bundle(bundle: Bundle, kernels: str, progress: Progress) -> ParityReport:
    bundle.check_sums()
    if not bundle.manifest.artifacts:
        raise ArtifactError(f"{bundle.path}: the manifest names no artifact, so there is nothing to verify.")
    expected = bundle.golden()
    _check_labels(bundle)
    _check_preprocessing(bundle, expected)
    rows = []
    for entry in track(progress, bundle.manifest.artifacts, "verify", len(bundle.manifest.artifacts)):
        rows.append(_shipped_row(bundle, entry, expected, kernels))
    classes = expected["keras"].argmax(1)
    photos = bundle.manifest.photos
    right = [int(classes[photo.tensor]) == bundle.manifest.label_index(photo.label) for photo in photos]
    return _report(Reference(sum(right) / len(right) if right else 0.0, len(right)), rows)


def _check_labels(bundle: Bundle) -> None:
    labels = contract.parse_labels(bundle.files.read("labels.txt").decode("utf-8"))
    if labels != bundle.manifest.labels:
        raise ArtifactError(f"{bundle.path}: labels.txt and manifest.json have different labels.")


def _check_preprocessing(bundle: Bundle, expected: dict[str, NDArray[Any]]) -> None:
    """Check that preprocessing on this machine gives the golden pixels, within 1 grey level."""
    import numpy as np

    spec = bundle.manifest.input
    for case in bundle.manifest.golden:
        pixels = image.preprocess(bundle.files.read(f"golden/{case.photo}"), (spec.height, spec.width))
        worst = int(np.abs(pixels.astype(int) - expected["pixels"][case.tensor]).max())
        if worst > 1:
            raise ArtifactError(
                f"{bundle.path}: golden/{case.photo} preprocessed on this machine differs from the "
                f"golden pixels by {worst} grey levels, expected at most 1. Is the Pillow version another?"
            )


def _shipped_row(bundle: Bundle, entry: Shipped, arrays: dict[str, NDArray[Any]], kernels: str) -> ParityRow:
    """Verify one artifact of a bundle; `arrays` are the golden pixels and predictions."""
    row = ParityRow(entry.variant, entry.path, entry.sha256, entry.bytes, "failed")
    if entry.variant not in VARIANTS:
        return Reasons((f"no such variant: {entry.variant}",)).put_into(row)
    row = replace(row, gate=VARIANTS[entry.variant].mode.gate, remarks=_provisional_remarks(entry))
    recorded = arrays.get(f"{entry.variant}.{kernels}", arrays.get(entry.variant))
    if recorded is None:
        known = entry.unsupported_reason(kernels)
        missing = f"the bundle holds no golden predictions of it with {kernels} kernels"
        return Reasons((f"{missing}. At export: {known}" if known else missing,)).put_into(row)
    try:
        used, predictions, reasons = _predict_shipped(bundle, entry, arrays["pixels"], kernels)
    except MissingError as error:
        return replace(row, verdict=SKIPPED, reasons=(str(error),))
    except ArtifactError as error:
        return Reasons((str(error),)).put_into(row)
    return _compare_with_golden(replace(row, kernels=used), predictions, recorded, reasons)


def _provisional_remarks(entry: Shipped) -> tuple[str, ...]:
    """Say of an artifact that it was bundled as provisional, and on how many images."""
    if not entry.provisional:
        return ()
    return (
        f"provisional: it predicts as at export, where {entry.independent_images} images were too few to "
        "confirm that it predicts as Keras",
    )


def _predict_shipped(
    bundle: Bundle, entry: Shipped, pixels: NDArray[np.uint8], kernels: str
) -> tuple[str, NDArray[np.float32], Reasons]:
    """Return the kernels that computed, the predictions float32[N, classes], and the structural reasons."""
    manifest, format = bundle.manifest, VARIANTS[entry.variant].format
    standard = Standard(manifest.labels, manifest.input, manifest.parameters, Parity())
    with tempfile.TemporaryDirectory() as scratch:
        source = extract_artifact(bundle, entry, Path(scratch))
        reasons = Reasons(tuple(parity.structural_reasons(source, entry.variant, standard)))
        session = format.open(source, kernels)
        return session.kernels, parity.predict_all(session, pixels, entry.variant), reasons


def _compare_with_golden(
    row: ParityRow,
    predictions: NDArray[np.float32],
    golden: NDArray[np.float32],
    reasons: Reasons,
) -> ParityRow:
    """Compare the predictions of this machine with those recorded at export, within the gate's tolerance."""
    import numpy as np

    if predictions.shape != golden.shape:
        shapes = f"{list(predictions.shape)} where {list(golden.shape)} were recorded at export"
        return (reasons + Reasons((f"returns values {shapes}",))).put_into(row)
    worst = float(np.abs(predictions - golden).max())
    if not worst <= contract.TOLERANCES[row.gate]:  # NaN too
        reasons += Reasons((), (f"predictions differ from those recorded at export by {worst:.2g}",))
    row = replace(
        row,
        verdict="failed" if reasons.prediction_reasons else "passed",
        images=len(predictions),
        agreement=float((predictions.argmax(1) == golden.argmax(1)).mean()),
        max_abs_dp=worst,
    )
    return reasons.put_into(row)
