"""A row of the parity report: every figure is that of the predictions, every verdict has its reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import colour_run
from tests.helpers.colour_run import IMAGES, POLICY, STANDARD, ColourRun
from tests.helpers.fake_device_bundle import LABELS, keras
from tledge._io import files
from tledge.config import Parity
from tledge.devices import mcu_budget
from tledge.devices.mcu_budget import Shortfalls
from tledge.errors import ArtifactError, MissingError
from tledge.formats.registry import VARIANTS
from tledge.metrics import abstention, parity_gates, statistics
from tledge.run.golden_set import FAULTS, Golden
from tledge.run.records import ParityRow
from tledge.verification import flips, parity

KEPT = {
    "accuracy": "accuracy", "accuracy_change": "accuracy_change", "change_low": "accuracy_change_low",
    "change_high": "accuracy_change_high", "mcnemar_p": "mcnemar_p", "agreement": "agreement",
    "agreement_low": "agreement_low", "agreement_high": "agreement_high", "max_abs_dp": "max_abs_dp",
    "ece": "ece", "lost": "regressions", "won": "fixes", "moved": "still_wrong", "recall": "recall",
    "worst_class": "worst_class", "worst_class_change": "worst_class_change",
}  # fmt: skip
"""Fields of a row, and those of a comparison that they are taken from."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ColourRun:
    return colour_run.make(tmp_path_factory.mktemp("colours") / "run")


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The artifacts whose flips were listed, and how many images differ; nothing is drawn."""
    found: list[tuple[str, int]] = []

    def write(_run: Path, variant: str, golden: Golden, predictions: Any, *_rest: Any) -> str:
        found.append((variant, int((golden.probabilities.argmax(1) != predictions.argmax(1)).sum())))
        return f"evidence/{variant}-flips.json"

    monkeypatch.setattr(flips, "write", write)
    return found


def other(golden: Golden) -> Golden:
    """Keras as if it had predicted other classes for some, some of them right, and labels that differ."""
    probabilities, labels = golden.probabilities.copy(), golden.labels.copy()
    probabilities[:7] = np.roll(probabilities[:7], 1, axis=1)
    labels[:2] = probabilities[:2].argmax(1)
    labels[2:4] = np.roll(probabilities[2:4], 1, axis=1).argmax(1)
    return replace(golden, probabilities=probabilities, labels=labels)


def predictions(run: ColourRun, variant: str) -> NDArray[np.float32]:
    return VARIANTS[variant].format.open(run.path(variant), "xnnpack").run(run.golden.images)


@pytest.mark.parametrize("variant", ["tflite-fp32", "tflite-int8"])
def test_an_artifact_that_predicts_as_keras_passes(
    run: ColourRun, variant: str, listed: list[tuple[str, int]]
) -> None:
    row = run.check(variant)
    assert (row.verdict, row.reasons, row.structural, row.images_needed) == ("passed", (), False, None)
    assert (row.images, row.kernels, row.gate) == (IMAGES, "xnnpack", VARIANTS[variant].mode.gate)
    path = run.path(variant)
    assert (row.path, row.sha256, row.bytes) == (
        run.artifacts[variant].path, files.sha256(path), path.stat().st_size,
    )  # fmt: skip
    assert listed == [(variant, 0)] and row.flips == f"evidence/{variant}-flips.json"


def test_every_figure_is_that_of_the_comparison(run: ColourRun) -> None:
    golden = other(run.golden)
    row = asdict(run.check("tflite-fp32", golden))
    wanted = parity_gates.compare_predictions(
        golden.labels, golden.probabilities, predictions(run, "tflite-fp32"), LABELS
    )
    assert {name: row[name] for name in KEPT} == {name: getattr(wanted, of) for name, of in KEPT.items()}
    assert min(wanted.regressions, wanted.fixes, wanted.still_wrong) > 0 and wanted.worst_class
    assert (row["verdict"], row["images_needed"]) == ("failed", None)
    assert row["reasons"] == parity_gates.check_parity(wanted, "float", Parity())[1]


def test_coverage_is_that_at_the_threshold(run: ColourRun) -> None:
    row = run.check("tflite-int8")
    wanted = abstention.coverage_and_error(predictions(run, "tflite-int8"), run.golden.labels, POLICY)
    assert (row.coverage, row.answered_error) == wanted and 0 < wanted[0] < 1
    assert run.check("tflite-int8", confidence=None).coverage is None


def test_a_small_set_is_undecided_and_says_how_many_it_takes(run: ColourRun) -> None:
    row = run.check("tflite-int8", few(run.golden))
    assert (row.verdict, row.images, row.images_needed) == ("undecided", 30, 100)
    assert (row.worst_class, row.worst_class_change) == ("", None), "no class has 20 images"
    assert run.check("tflite-fp32", few(run.golden)).images_needed is None


def few(golden: Golden) -> Golden:
    return replace(
        golden, images=golden.images[:30], labels=golden.labels[:30],
        probabilities=golden.probabilities[:30], ids=golden.ids[:30],
    )  # fmt: skip


def test_what_lacks_only_images_is_provisional(run: ColourRun) -> None:
    row = run.check("tflite-int8", few(run.golden))
    assert row.provisional and row.is_bundled and row.independent_images == 30
    low, high = statistics.clopper_pearson(30, 30)
    assert (row.independent_agreement, row.independent_low, row.independent_high) == (1.0, low, high)
    assert row.independent_sources == {"test": 30} and row.independent_needed == 149
    strict = run.check("tflite-int8", few(run.golden), limits=Parity(strict=True))
    assert (strict.verdict, strict.provisional) == ("undecided", False)


def test_what_a_constant_reference_cannot_tell_is_never_provisional(run: ColourRun) -> None:
    golden = few(run.golden)
    same = replace(golden, probabilities=np.repeat(golden.probabilities[:1], 30, axis=0))
    row = run.check("tflite-int8", same)
    assert not row.provisional


def test_a_memory_limit_that_was_not_checked_is_not_provisional(
    run: ColourRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Shortfalls((), ("not checked",), None)
    monkeypatch.setattr(mcu_budget, "shortfalls", lambda *_: found)
    row = run.check("tflite-int8", few(run.golden))
    assert (row.verdict, row.provisional) == ("undecided", False)


def test_a_likely_cause_comes_before_the_reasons(run: ColourRun) -> None:
    swapped = FAULTS[0]
    blind = replace(
        run.golden,
        probabilities=keras(run.golden.images[..., ::-1]),
        faults={swapped.name: run.golden.probabilities[:64]},
    )
    row = run.check("tflite-fp32", blind)
    assert row.verdict == "failed" and row.reasons[0] == swapped.message
    assert row.reasons[1].startswith("agrees with Keras on ")


def test_a_file_that_is_gone_is_structural(run: ColourRun) -> None:
    gone = replace(run.artifacts["tflite-int8"], path="artifacts/gone.tflite")
    row = parity.check(run.folder, gone, run.golden, STANDARD)
    assert row == ParityRow(
        "tflite-int8", gone.path, gone.sha256, gone.bytes, "failed", structural=True,
        reasons=("artifacts/gone.tflite is missing; export again",),
    )  # fmt: skip


def test_a_structural_fault_outweighs_equal_predictions(run: ColourRun) -> None:
    """What a file says of itself that no export made is the reason."""
    row = run.check("tflite-fp32", labels=("red", "blue", "green"))
    assert row.verdict == "failed" and row.structural and row.images == IMAGES
    assert any("labels" in reason for reason in row.reasons)


def test_other_numbers_of_classes_are_structural(run: ColourRun, listed: list[tuple[str, int]]) -> None:
    two = replace(run.golden, probabilities=run.golden.probabilities[:, :2])
    row = run.check("tflite-fp32", two)
    assert (row.verdict, row.structural, row.images) == ("failed", True, 0)
    assert row.reasons == ("returns (3,) values for an image",) and listed == []


class Session:
    """A session whose predictions are given."""

    kernels = "none"

    def __init__(self, predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> None:
        self.predict, self.sizes = predict, list[int]()

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes.append(len(images))
        return self.predict(images)


def test_predictions_that_are_not_numbers_fail_by_that_name(run: ColourRun) -> None:
    row = ParityRow("tflite-fp32", "a", "", 1, "failed", gate="float")
    nothing = np.full_like(run.golden.probabilities, np.nan)
    same, reasons = parity.compare_row(row, Session(keras), nothing, run.golden, STANDARD)
    assert same is row and reasons.structural_reasons == ()
    assert reasons.prediction_reasons[0].startswith("its predictions are not numbers")


def test_images_are_predicted_in_chunks_and_in_order(run: ColourRun) -> None:
    session, images = Session(keras), np.resize(run.golden.images, (600, *run.golden.images.shape[1:]))
    np.testing.assert_allclose(parity.predict_all(session, images, "x"), keras(images), atol=1e-6)
    assert session.sizes == [256, 256, 88]


def test_an_artifact_that_does_not_run_is_named() -> None:
    def fail(_images: Any) -> Any:
        raise RuntimeError("no kernel")

    with pytest.raises(ArtifactError, match="tflite-int8: loads but does not run"):
        parity.predict_all(Session(fail), np.zeros((2, 4, 4, 3), np.uint8), "tflite-int8")


def test_the_same_nan_twice_is_no_random_operator() -> None:
    session = Session(lambda images: np.full((len(images), 3), np.nan, np.float32))
    assert parity._repeat_reasons(session, np.zeros((9, 4, 4, 3), np.uint8)) == parity.Reasons()
    assert session.sizes == [4, 4]


def test_figures_for_comparison_are_those_of_the_session(run: ColourRun) -> None:
    found = parity.comparison_figures(Session(lambda images: keras(images[:, ::-1])), run.golden, STANDARD)
    wanted = parity_gates.compare_predictions(
        run.golden.labels, run.golden.probabilities, keras(run.golden.images[:, ::-1]), LABELS
    )
    assert found == {name: getattr(wanted, name) for name in ("accuracy", "agreement", "max_abs_dp")}


@pytest.mark.parametrize(
    ("found", "verdict", "structural"),
    [
        (Shortfalls((), (), 70_000), "passed", False),
        (Shortfalls(("too large",), (), 70_000), "failed", True),
        (Shortfalls((), ("not checked",), None), "undecided", False),
        (Shortfalls(("too large",), ("not checked",), None), "failed", True),
    ],
)
def test_memory_limits_are_those_of_microcontrollers(
    run: ColourRun, monkeypatch: pytest.MonkeyPatch, found: Shortfalls, verdict: str, structural: bool
) -> None:
    asked = []

    def shortfalls(path: Path, limits: Parity, arena: int | None) -> Shortfalls:
        asked.append((path.name, limits, arena))
        return found

    monkeypatch.setattr(mcu_budget, "shortfalls", shortfalls)
    row = run.check("tflite-int8")
    assert (row.verdict, row.structural, row.arena_bytes) == (verdict, structural, found.arena_bytes)
    assert row.reasons == (*found.exceeded, *found.unchecked)
    run.check("tflite-fp32")
    assert asked == [("tflite-int8.tflite", Parity(), None)], "other variants have no such limit"
    parity.check(run.folder, run.artifacts["tflite-int8"], run.golden, STANDARD, arena_bytes=70_000)
    assert asked[1:] == [("tflite-int8.tflite", Parity(), 70_000)]


def test_a_failed_artifact_stays_failed_where_memory_cannot_be_checked(
    run: ColourRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcu_budget, "shortfalls", lambda *_: Shortfalls((), ("not checked",), None))
    row = run.check("tflite-int8", other(run.golden))
    assert row.verdict == "failed" and row.reasons[-1] == "not checked"


def opened_as(monkeypatch: pytest.MonkeyPatch, name: str, session: Session) -> None:
    """Open a variant as a session of the test."""
    variant = VARIANTS[name]
    opened = replace(variant.format, open=lambda *_: session, inspect=lambda _source: variant)
    monkeypatch.setitem(VARIANTS, name, replace(variant, format=opened))
    monkeypatch.setattr(parity.structure, "structure_reasons", lambda *_, **__: [])


def test_an_artifact_that_predicts_no_numbers_fails(run: ColourRun, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_as(monkeypatch, "tflite-fp32", Session(lambda images: keras(images) * np.float32(np.nan)))
    row = run.check("tflite-fp32")
    assert (row.verdict, row.structural, row.images) == ("failed", False, 0)
    assert row.reasons[0].startswith("its predictions are not numbers")


def test_an_artifact_that_does_not_run_says_why(run: ColourRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_images: Any) -> Any:
        raise RuntimeError("no kernel for it")

    opened_as(monkeypatch, "tflite-fp32", Session(fail))
    row = run.check("tflite-fp32")
    assert (row.verdict, row.structural) == ("failed", True)
    assert "loads but does not run" in row.reasons[0] and "no kernel for it" in row.reasons[0]


def test_an_artifact_that_is_a_folder_is_hashed_as_one(
    run: ColourRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.folder.artifacts / "saved_model"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(bytes(100))
    (folder / "more").write_bytes(bytes(23))
    opened_as(monkeypatch, "saved_model", Session(keras))
    wanted = files.sha256(folder)
    record = replace(run.artifacts["tflite-fp32"], variant="saved_model", path="artifacts/saved_model")
    row = parity.check(run.folder, replace(record, sha256=wanted), run.golden, STANDARD)
    assert (row.verdict, row.sha256, row.bytes) == ("passed", wanted, 123)
    assert parity.hash_of(folder) == wanted


def test_a_set_that_is_large_enough_and_shows_nothing_names_no_number(run: ColourRun) -> None:
    """Keras predicts one class for every image: more images would not help."""
    blind = np.tile(np.array([0.5, 0.3, 0.2], np.float32), (IMAGES, 1))
    blind[:, 0] += np.linspace(0, 0.1, IMAGES, dtype=np.float32)
    same = replace(run.golden, probabilities=blind, labels=(np.arange(IMAGES) < 12).astype(np.int64))
    row, _ = parity.compare_row(
        ParityRow("tflite-int8", "a", "", 1, "failed", gate="int8"), Session(keras), blind, same, STANDARD
    )
    assert (row.verdict, row.images_needed) == ("undecided", None)


def test_a_missing_runtime_is_told(run: ColourRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise MissingError("no LiteRT")

    variant = VARIANTS["tflite-fp32"]
    monkeypatch.setitem(
        VARIANTS, variant.name, replace(variant, format=replace(variant.format, open=missing))
    )
    with pytest.raises(MissingError, match="no LiteRT"):
        run.check("tflite-fp32")
