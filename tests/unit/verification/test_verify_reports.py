"""Reports of runs and bundles: what is in them, when they pass, and the error that a command ends with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import colour_run
from tests.helpers.colour_run import IMAGES, POLICY, STANDARD, ColourRun
from tests.helpers.fake_device_bundle import LABELS, write_sums
from tledge._io import files
from tledge.bundle.manifest import Shipped
from tledge.bundle.reader import open_bundle
from tledge.config import Parity
from tledge.contract import TOLERANCES
from tledge.errors import ArtifactError, InconclusiveError, MissingError, ParityFailed, RunError
from tledge.formats.registry import VARIANTS
from tledge.metrics import abstention, statistics
from tledge.progress import SILENT
from tledge.run import golden_set
from tledge.run.folder import UNCORRECTED
from tledge.run.records import ParityReport, ParityRow, Reference
from tledge.runtime import sandbox
from tledge.verification import flips, parity, verify
from tledge.verification.reasons import Reasons

FP32, INT8 = "tflite-fp32", "tflite-int8"


@pytest.fixture(autouse=True)
def _without_processes_and_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "is_possible", lambda _library: False)
    monkeypatch.setattr(flips, "_draw", lambda path, *_: path.write_bytes(b""))


@pytest.fixture
def run(tmp_path: Path) -> ColourRun:
    return colour_run.make(tmp_path / "run")


def without(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    """Take the runtime of a variant away."""

    def missing(*_: Any) -> Any:
        raise MissingError("no runtime: pip install one")

    known = VARIANTS[variant]
    monkeypatch.setitem(VARIANTS, variant, replace(known, format=replace(known.format, open=missing)))


def test_report_holds_a_row_for_every_artifact(run: ColourRun) -> None:
    report = verify.verify_run(run.folder, Parity())
    assert report.passed is True and run.folder.read_parity() == report
    assert report.rows == (run.check(FP32), run.check(INT8))
    coverage, error = abstention.coverage_and_error(run.golden.probabilities, run.golden.labels, POLICY)
    ece = statistics.calibration_error(run.golden.probabilities, run.golden.labels)
    assert report.reference == Reference(1.0, IMAGES, ece, coverage=coverage, answered_error=error)
    assert 0 < coverage < 1 and ece > 0.01


def test_reference_is_what_keras_scores(run: ColourRun) -> None:
    wrong = replace(run.golden, labels=np.where(np.arange(IMAGES) < 30, 2, run.golden.labels))
    right = (run.golden.probabilities.argmax(1) == wrong.labels).mean()
    found = verify._reference_figures(wrong, POLICY)
    coverage, error = abstention.coverage_and_error(wrong.probabilities, wrong.labels, POLICY)
    assert (found.accuracy, found.coverage, found.answered_error) == (right, coverage, error)
    assert right < 1 and error > 0
    assert verify._reference_figures(wrong, None).coverage is None


def test_kernels_are_those_that_were_asked_for(run: ColourRun) -> None:
    rows = verify.verify_run(run.folder, Parity(), kernels="reference").rows
    assert [row.kernels for row in rows] == ["reference", "reference"]


def test_an_artifact_without_runtime_is_skipped(run: ColourRun, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, INT8)
    report = verify.verify_run(run.folder, Parity())
    record = run.artifacts[INT8]
    assert report.rows[1] == ParityRow(
        INT8, record.path, record.sha256, record.bytes, "skipped", reasons=("no runtime: pip install one",)
    )
    assert report.passed, "what was checked passed"
    without(monkeypatch, FP32)
    assert not verify.verify_run(run.folder, Parity()).passed, "nothing was checked"


def test_an_arena_that_was_measured_before_counts(run: ColourRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a machine that cannot measure it: the file is still the same."""
    report = verify.verify_run(run.folder, Parity())
    rows = (report.rows[0], replace(report.rows[1], arena_bytes=70_000))
    files.write_json(run.folder.parity, replace(report, rows=rows))
    seen = []
    check = parity.check

    def watched(*arguments: Any, **options: Any) -> ParityRow:
        seen.append((options["arena_bytes"], options["progress"]))
        return check(*arguments, **options)

    monkeypatch.setattr(parity, "check", watched)
    verify.verify_run(run.folder, Parity(), progress=SILENT)
    assert seen == [(None, SILENT), (70_000, SILENT)]


def test_a_failed_artifact_fails_the_report(run: ColourRun) -> None:
    golden = replace(run.golden, probabilities=np.roll(run.golden.probabilities, 1, axis=1))
    golden_set.save(run.folder.golden, golden)
    report = verify.verify_run(run.folder, Parity())
    assert not report.passed and {row.verdict for row in report.rows} == {"failed"}


def test_the_conversion_without_bias_correction_is_shown(run: ColourRun) -> None:
    kept = run.folder.path / "evidence" / "before.tflite"
    kept.parent.mkdir(exist_ok=True)
    shutil.copy(run.path(FP32), kept)
    record = replace(run.artifacts[INT8], details={UNCORRECTED: "evidence/before.tflite"})
    files.write_json(run.folder.artifacts / f"{INT8}.json", record)
    first, second = verify.verify_run(run.folder, Parity()).rows
    session = VARIANTS[FP32].format.open(kept, "xnnpack")
    assert second.without_bias_correction == parity.comparison_figures(session, run.golden, STANDARD)
    assert first.without_bias_correction is None and second.max_abs_dp is not None
    kept.write_bytes(b"damaged")
    assert verify.verify_run(run.folder, Parity()).rows[1] == replace(second, without_bias_correction=None)
    kept.unlink()
    assert verify.verify_run(run.folder, Parity()).rows[1].verdict == "passed"


def test_nothing_to_verify_is_told(run: ColourRun) -> None:
    for path in run.folder.artifacts.glob("*.json"):
        path.unlink()
    with pytest.raises(RunError, match="no artifacts to verify"):
        verify.verify_run(run.folder, Parity())


ROW = ParityRow(INT8, "a.tflite", "ab" * 32, 9, "failed", gate="int8", reasons=("too far off",))
PASSED = replace(ROW, variant=FP32, verdict="passed", reasons=())
SKIPPED = replace(ROW, variant="onnx-fp32", verdict="skipped", reasons=("no ONNX Runtime",))


@pytest.mark.parametrize(
    ("rows", "kind", "text"),
    [
        ((PASSED, ROW, SKIPPED), ParityFailed, f"verification did not pass: {INT8}. {INT8}: too far off"),
        (
            (replace(ROW, verdict="undecided"),),
            InconclusiveError,
            f"inconclusive: {INT8}. {INT8}: too far off",
        ),
        ((ROW, replace(ROW, variant=FP32, structural=True)), ArtifactError, f"failed: {INT8}, {FP32}. "),
        ((SKIPPED,), MissingError, "No artifact could be checked here. onnx-fp32: no ONNX Runtime"),
    ],
)
def test_error_follows_from_the_worst_row(rows: tuple[ParityRow, ...], kind: type, text: str) -> None:
    error = verify.failure(ParityReport(False, Reference(1.0, 9), rows))
    assert type(error) is kind and text in str(error)
    shown = verify.failure(ParityReport(False, Reference(1.0, 9), rows), "See above.")
    assert str(shown).endswith(" See above.") and "too far off" not in str(shown)


def test_bundle_report_has_its_photos_and_artifacts(bundle: Path) -> None:
    report = verify.verify_bundle(bundle, kernels="builtin")
    manifest = open_bundle(bundle).manifest
    assert report.reference == Reference(1.0, len(manifest.photos))
    for row, entry in zip(report.rows, manifest.artifacts, strict=True):
        recorded = len(manifest.golden)
        assert (row.variant, row.path, row.sha256, row.bytes) == (
            entry.variant, entry.path, entry.sha256, entry.bytes,
        )  # fmt: skip
        assert (row.kernels, row.gate, row.images) == (
            "builtin", VARIANTS[entry.variant].mode.gate, recorded,
        )  # fmt: skip
        assert row.agreement == 1.0 and row.max_abs_dp == 0.0
    by_default = verify.verify_opened(open_bundle(bundle)).rows
    assert {row.kernels for row in by_default} == {"xnnpack"}


def test_keras_predictions_of_a_bundle_are_held_to_its_labels(bundle: Path) -> None:
    """Another class for one photo, and for one copy in another encoding, which does not count."""
    path = bundle / "golden" / "keras.npy"
    predicted = np.load(path)
    predicted[[0, -1]] = np.roll(predicted[[0, -1]], 1, axis=1)
    np.save(path, predicted)
    write_sums(bundle)
    photos = len(open_bundle(bundle).manifest.photos)
    assert verify.verify_bundle(bundle).reference == Reference((photos - 1) / photos, photos)


def test_artifact_of_a_bundle_without_runtime_is_skipped(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, FP32)
    row = verify.verify_bundle(bundle).rows[0]
    assert (row.variant, row.verdict, row.reasons) == (FP32, "skipped", ("no runtime: pip install one",))


def compare(predictions: Any, golden: Any, reasons: Reasons = Reasons()) -> ParityRow:  # noqa: B008
    return verify._compare_with_golden(replace(ROW, reasons=()), predictions, golden, reasons)


def test_predictions_of_a_bundle_have_the_tolerance_of_their_gate() -> None:
    golden = np.zeros((4, 3), np.float64)
    golden[:, 0] = 0.5
    within, beyond = golden.copy(), golden.copy()
    within[2, 1] = TOLERANCES["int8"]
    beyond[2, 1] = np.nextafter(TOLERANCES["int8"], 1)
    row = compare(within, golden)
    assert (row.verdict, row.images, row.agreement, row.reasons) == ("passed", 4, 1.0, ())
    assert row.max_abs_dp == TOLERANCES["int8"]
    assert compare(beyond, golden).verdict == "failed"
    other = golden.copy()
    other[1] = (0.1, 0.8, 0.1)
    row = compare(other, golden)
    assert (row.verdict, row.agreement, row.max_abs_dp) == ("failed", 0.75, 0.8)
    assert row.reasons == ("predictions differ from those recorded at export by 0.8",)


def test_structural_reasons_of_a_bundle_stay() -> None:
    golden = np.full((2, 3), 0.3)
    row = compare(golden + 0.5, golden, Reasons(("carries no labels",)))
    assert row.structural and row.verdict == "failed" and row.reasons[0] == "carries no labels"
    assert len(row.reasons) == 2
    assert compare(golden, golden, Reasons(("carries no labels",))).verdict == "failed"


def test_entry_of_an_unknown_variant_or_without_predictions_fails(bundle: Path) -> None:
    opened = open_bundle(bundle)
    entry = opened.manifest.artifacts[0]
    unknown = replace(entry, variant="tflite-int4")
    row = verify._shipped_row(opened, unknown, {}, "xnnpack")
    assert row.verdict == "failed" and row.reasons == ("no such variant: tflite-int4",)
    row = verify._shipped_row(opened, entry, {}, "xnnpack")
    assert (row.variant, row.path, row.sha256, row.bytes) == (
        entry.variant, entry.path, entry.sha256, entry.bytes,
    )  # fmt: skip
    assert row.reasons == ("the bundle holds no golden predictions of it with xnnpack kernels",)


def test_predictions_without_a_family_of_kernels_serve_every_family(bundle: Path) -> None:
    opened = open_bundle(bundle)
    entry: Shipped = opened.manifest.artifacts[0]
    arrays = {"pixels": opened.golden()["pixels"], entry.variant: np.zeros((2, len(LABELS)), np.float32)}
    row = verify._shipped_row(opened, entry, arrays, "xnnpack")
    assert any("where [2, 3] were recorded" in reason for reason in row.reasons)


def test_a_provisional_artifact_is_named_so() -> None:
    shipped = Shipped(
        "tflite-int8", "a.tflite", "ab" * 32, 1, "undecided", provisional=True, independent_images=36
    )
    assert "36 images were too few" in verify._provisional_remarks(shipped)[0]
    assert verify._provisional_remarks(replace(shipped, provisional=False)) == ()
