"""The verification stage: a run's artifacts against its golden set, or a bundle against its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract
from tledge._io import files
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import Bundle, open_bundle
from tledge.bundle.signing import PublicKey
from tledge.config import Parity
from tledge.contract import AbstentionPolicy
from tledge.errors import ArtifactError, DataError, MissingError, ParityFailed, RunError, TledgeError
from tledge.formats.registry import VARIANTS
from tledge.metrics import abstention, statistics
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress, track
from tledge.run import folder as run_folder
from tledge.run import golden_set
from tledge.run.folder import UNCORRECTED, RunFolder
from tledge.run.records import Artifact, ParityReport, ParityRow, Reference
from tledge.runtime import sandbox
from tledge.runtime.model_file import ModelFile, ModelSource
from tledge.verification import flips, parity
from tledge.verification.parity import Standard
from tledge.verification.reasons import Reasons

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SKIPPED = "skipped"
"""Verdict of a row whose runtime is not on this machine: not checked, and said so."""


@run_folder.alone
def verify_run(
    folder: RunFolder,
    limits: Parity,
    *,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> ParityReport:
    """Hold every artifact of a run to the golden set; write `parity.json` and which answers differ.

    Raises RunError where there is nothing to verify.
    """
    run = folder.read_run()
    reference = folder.read_golden()
    standard = Standard(run.labels, run.input, run.parameters, limits, run.confidence)
    artifacts = [one for one in folder.read_artifacts() if one.variant in VARIANTS]
    if not artifacts:
        raise RunError(f"{folder.path}: no artifacts to verify. Run `tledge export {folder.path}`.")
    order = list(VARIANTS)
    rows = []
    for artifact in sorted(artifacts, key=lambda one: order.index(one.variant)):
        row = _row(folder, artifact, reference, standard, kernels, progress)
        rows.append(_with_uncorrected(folder, row, artifact, reference, standard))
    flips.keep_only(folder.path, [row.flips for row in rows])
    report = _report(_of_keras(reference, run.confidence), rows)
    files.write_json(folder.parity, report)
    return report


def _of_keras(reference: golden_set.Golden, fitted: AbstentionPolicy | None) -> Reference:
    right = reference.probabilities.argmax(1) == reference.labels
    ece = statistics.calibration_error(reference.probabilities, reference.labels)
    found = Reference(float(right.mean()), len(right), ece)
    if fitted is None:
        return found
    coverage, error = abstention.coverage_and_error(reference.probabilities, reference.labels, fitted)
    return replace(found, coverage=coverage, answered_error=error)


def _report(reference: Reference, rows: Sequence[ParityRow]) -> ParityReport:
    """Passed where something was checked and nothing that was checked fell short."""
    checked = [row.verdict == "passed" for row in rows if row.verdict != SKIPPED]
    return ParityReport(passed=bool(checked) and all(checked), reference=reference, rows=tuple(rows))


def failure(report: ParityReport, why: str = "") -> TledgeError:
    """What a report that did not pass ends with; `why` stands for the reasons where they were shown.

    An ArtifactError where a file is wrong in itself, a MissingError where none could be checked, else
    a ParityFailed.
    """
    bad = [row for row in report.rows if row.verdict not in ("passed", SKIPPED)]
    told = why or " ".join(f"{row.variant}: {reason}" for row in bad or report.rows for reason in row.reasons)
    if not bad:
        return MissingError(f"No artifact could be checked here. {told}")
    names = ", ".join(row.variant for row in bad)
    if any(row.structural for row in bad):
        return ArtifactError(f"verification failed: {names}. {told}")
    return ParityFailed(f"verification did not pass: {names}. {told}")


def _row(
    folder: RunFolder,
    artifact: Artifact,
    reference: golden_set.Golden,
    standard: Standard,
    kernels: str,
    progress: Progress,
) -> ParityRow:
    try:
        return parity.check(folder, artifact, reference, standard, kernels=kernels, progress=progress)
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
    """Add what the converter alone would have given, where the export kept it."""
    path = folder.path / str(artifact.details.get(UNCORRECTED, ""))
    if UNCORRECTED not in artifact.details or not path.is_file():
        return row
    try:
        session = VARIANTS[artifact.variant].format.open(path, row.kernels or "xnnpack")
        found = parity.comparison_figures(session, reference, standard)
    except TledgeError:
        return row  # evidence only: a damaged extra file must not fail the shipped one
    return replace(row, without_bias_correction=found)


def verify_bundle(
    path: Path,
    *,
    key: PublicKey | None = None,
    kernels: str = "xnnpack",
    progress: Progress = SILENT,
) -> ParityReport:
    """Check a bundle on this machine: hashes, labels, preparation, structure, golden answers.

    Raises ArtifactError for damage that concerns the bundle as a whole, and where the owner of `key`,
    if that is given, did not sign it as it is.
    """
    with contradictions_named(path):
        return verify_opened(open_bundle(path, key), kernels=kernels, progress=progress)


@contextmanager
def contradictions_named(path: Path) -> Iterator[None]:
    """Raise an ArtifactError that names the bundle where its files do not fit together."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, MemoryError, DataError) as error:
        raise ArtifactError(f"{path}: the bundle contradicts itself ({error!r}).") from error


def verify_opened(bundle: Bundle, *, kernels: str = "xnnpack", progress: Progress = SILENT) -> ParityReport:
    """Check a bundle that is open already, as `verify_bundle` does."""
    with contradictions_named(bundle.path):
        return _verify_bundle(bundle, kernels, progress)


def _verify_bundle(bundle: Bundle, kernels: str, progress: Progress) -> ParityReport:
    bundle.check_sums()
    if not bundle.manifest.artifacts:
        raise ArtifactError(f"{bundle.path}: the manifest names no artifact, so there is nothing to verify.")
    expected = bundle.golden()
    _check_labels(bundle)
    _check_preparation(bundle, expected)
    rows = []
    for entry in track(progress, bundle.manifest.artifacts, "verify", len(bundle.manifest.artifacts)):
        rows.append(_shipped_row(bundle, entry, expected, kernels))
    answers = expected["keras"].argmax(1)
    photos = bundle.manifest.photos
    right = [int(answers[one.tensor]) == bundle.manifest.label_index(one.label) for one in photos]
    return _report(Reference(sum(right) / len(right) if right else 0.0, len(right)), rows)


def _check_labels(bundle: Bundle) -> None:
    listed = contract.parse_labels(bundle.files.read("labels.txt").decode("utf-8"))
    if listed != bundle.manifest.labels:
        raise ArtifactError(f"{bundle.path}: labels.txt and manifest.json name other labels.")


def _check_preparation(bundle: Bundle, expected: dict[str, NDArray[Any]]) -> None:
    """The golden photos prepared here give the golden pixels, within 1 grey level."""
    import numpy as np

    spec = bundle.manifest.input
    for case in bundle.manifest.golden:
        pixels = image.preprocess(bundle.files.read(f"golden/{case.photo}"), (spec.height, spec.width))
        worst = int(np.abs(pixels.astype(int) - expected["pixels"][case.tensor]).max())
        if worst > 1:
            raise ArtifactError(
                f"{bundle.path}: golden/{case.photo} prepared on this machine differs from the "
                f"golden pixels by {worst} grey levels, at most 1 allowed. Another Pillow?"
            )


def _shipped_row(
    bundle: Bundle, entry: Shipped, expected: dict[str, NDArray[Any]], kernels: str
) -> ParityRow:
    row = ParityRow(entry.variant, entry.path, entry.sha256, entry.bytes, "failed", structural=True)
    if entry.variant not in VARIANTS:
        return replace(row, reasons=(f"no such variant: {entry.variant}",))
    variant = VARIANTS[entry.variant]
    row = replace(row, gate=variant.mode.gate)
    golden = expected.get(f"{entry.variant}.{kernels}", expected.get(entry.variant))
    if golden is None:
        return replace(row, reasons=("the bundle holds no golden predictions of it",))
    manifest = bundle.manifest
    standard = Standard(manifest.labels, manifest.input, manifest.parameters, Parity())
    try:
        with tempfile.TemporaryDirectory() as scratch:
            source = _extract(bundle, entry, Path(scratch))
            if isinstance(source, ModelFile):
                sandbox.try_model(source, kernels)
            structural = parity.structural_reasons(source, entry.variant, standard)
            session = variant.format.open(source, kernels)
            predictions = parity.predict_all(session, expected["pixels"], entry.variant)
    except MissingError as error:
        return replace(row, verdict=SKIPPED, structural=False, reasons=(str(error),))
    except ArtifactError as error:
        return replace(row, reasons=(str(error),))
    row = replace(row, kernels=session.kernels)
    return _compare_with_golden(row, predictions, golden, Reasons(tuple(structural)))


def _extract(bundle: Bundle, entry: Shipped, scratch: Path) -> ModelSource:
    """Read an artifact's file, or write the folder of a SavedModel below `scratch`.

    Raises ArtifactError where it is not in the bundle or not what the manifest names.
    """
    bundle.extract(scratch, entry.path)
    path = (scratch / entry.path).resolve()
    if not path.is_relative_to(scratch.resolve()) or not path.exists():
        raise ArtifactError(f"{bundle.path}: {entry.path} is not in the bundle.")
    source = ModelFile(entry.path, path.read_bytes()) if path.is_file() else path
    if parity.hash_of(source) != entry.sha256:
        raise ArtifactError(f"{entry.path}: not the file that manifest.json names (SHA-256 differs).")
    return source


def _compare_with_golden(
    row: ParityRow,
    predictions: NDArray[np.float32],
    golden: NDArray[np.float32],
    reasons: Reasons,
) -> ParityRow:
    """Hold the predictions of this machine to those recorded at export, within the gate's tolerance."""
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
