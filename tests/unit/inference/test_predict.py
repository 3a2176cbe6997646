"""What a person and a program see of a model's doubt: predict, verify, inspect, and the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.command_line import Cli, Done
from tests.helpers.fake_artifacts import bundle, run
from numpy.typing import NDArray
from PIL import Image

from tledge import bundle as bundling
from tledge import console_tables, contract, golden, parity, predict, reader, runs, words
from tledge.contract import Confidence
from tledge.predict import Answer
from tledge.reader import Predictor
from tledge.runs import ParityReport, ParityRow, Reference, Risk, RiskCoverage, RunFolder

FITTED = Confidence(temperature=2.0, threshold=0.62, images=300, coverage=0.95, error=0.01)


class Fixed:
    """A session that answers the same to every photo."""

    kernels = "none"

    def __init__(self, *probabilities: float) -> None:
        self._row = np.array(probabilities, np.float32)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([self._row] * len(images))


def predictor(fitted: Confidence | None, *probabilities: float) -> Predictor:
    return Predictor(Fixed(*probabilities), ("cat", "dog", "owl"), (8, 8), "fake", (), fitted)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8), (90, 120, 30)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def answer(photo: Path, fitted: Confidence | None, *probabilities: float, top: int = 3) -> Answer:
    (found,) = predict.predict(predictor(fitted, *probabilities), [photo], top)
    return found


def test_confidence_stands_beside_probability(photo: Path) -> None:
    found = answer(photo, FITTED, 0.04, 0.64, 0.32)
    assert [one.label for one in found.predictions] == ["dog", "owl", "cat"]
    assert [one.probability for one in found.predictions] == pytest.approx([0.64, 0.32, 0.04])
    assert [one.confidence for one in found.predictions] == pytest.approx([0.511, 0.361, 0.128], abs=1e-3)


@pytest.mark.parametrize(("best", "abstained"), [(0.64, True), (0.9, False)])
def test_doubt_is_decided_at_the_temperature(photo: Path, best: float, abstained: bool) -> None:
    """.64 is above the threshold of .62, and its confidence of .48 is not."""
    rest = (1 - best) / 2
    assert answer(photo, FITTED, best, rest, rest).abstained is abstained
    assert answer(photo, FITTED, best, rest, rest, top=1).abstained is abstained


def test_confidence_at_the_threshold_answers(photo: Path) -> None:
    for threshold, abstained in ((0.5, False), (0.5001, True)):
        assert answer(photo, Confidence(1.0, threshold), 0.5, 0.25, 0.25).abstained is abstained


def test_nothing_fitted_changes_nothing(photo: Path) -> None:
    """Of a model made elsewhere, whose numbers need not even be probabilities."""
    found = answer(photo, None, 3.5, -1.0, 0.25)
    assert found.abstained is False
    assert [one.confidence for one in found.predictions] == [3.5, 0.25, -1.0]


def test_bad_photo_is_no_doubt(tmp_path: Path) -> None:
    found = answer(tmp_path / "none.png", FITTED, 0.4, 0.3, 0.3)
    assert found.error and not found.abstained


def opened(monkeypatch: pytest.MonkeyPatch, fitted: Confidence | None, *probabilities: float) -> None:
    monkeypatch.setattr(reader, "open_predictor", lambda *_rest: predictor(fitted, *probabilities))


def test_doubt_is_shown(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, FITTED, 0.64, 0.04, 0.32)
    done = cli("predict", "model", photo, "--top", "2")
    assert done.code == 0
    assert done.out == f"{photo}: ? cat 0.511  owl 0.361  (unsure: below 0.620)\n"


def test_sure_answer_is_shown_plainly(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, replace(FITTED, threshold=0.5), 0.64, 0.04, 0.32)
    assert cli("predict", "model", photo, "--top", "1").out == f"{photo}: cat 0.511\n"
    opened(monkeypatch, None, 0.64, 0.04, 0.32)
    assert cli("predict", "model", photo, "--top", "1").out == f"{photo}: cat 0.640\n"


def test_json_tells_doubt_from_answer(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threshold, abstained in ((0.62, True), (0.5, False)):
        opened(monkeypatch, replace(FITTED, threshold=threshold), 0.64, 0.04, 0.32)
        (found,) = json.loads(cli("predict", "model", photo, "--json").out)
        assert found["abstained"] is abstained and found.keys() == {"image", "predictions", "abstained"}
        assert found["predictions"][0].keys() == {"label", "probability", "confidence"}


def with_confidence(folder: Path, fitted: dict[str, Any] | None) -> Path:
    """The tiny bundle, its manifest naming this confidence."""
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(raw | {"confidence": fitted}))
    return folder


def test_bundle_brings_its_confidence(tmp_path: Path) -> None:
    folder = with_confidence(bundle(tmp_path / "bundle"), asdict(FITTED))
    assert reader.open_predictor(folder).confidence == FITTED
    assert reader.open_predictor(folder / "tflite-fp32.tflite").confidence is None
    assert reader.open_predictor(with_confidence(folder, None)).confidence is None


def row(variant: str, coverage: float | None, *remarks: str) -> ParityRow:
    return ParityRow(
        variant, "a", "ab" * 32, 1, "passed", coverage=coverage, answered_error=0.02, remarks=remarks
    )


def test_verify_says_what_is_answered() -> None:
    rows = row("tflite-int8", 0.85, "answers 85.0% of the photos"), row("onnx-fp32", 0.95)
    report = ParityReport(True, Reference(0.9, 300, coverage=0.95, answered_error=0.01), rows)
    assert console_tables.reasons(report) == [
        "tflite-int8: answers 85.0% of the photos",
        "Sure enough to answer: keras 95.0%, 1.0% wrong; tflite-int8 85.0%, 2.0% wrong; "
        "onnx-fp32 95.0%, 2.0% wrong.",
    ]


def test_verify_of_earlier_run_says_nothing() -> None:
    assert console_tables.reasons(ParityReport(True, Reference(0.9, 300), (row("onnx-fp32", None),))) == []


def risky(path: Path) -> Path:
    folder = RunFolder(run(path))
    runs.write_json(folder.run, replace(folder.read_run(), confidence=FITTED))
    curve = asdict(RiskCoverage(0.01, (Risk(0.31, 1.0, 0.05), Risk(0.75, 0.9, 0.004))))
    runs.write_json(folder.risk, {"validation": curve, "test": curve})
    return path


def test_inspect_shows_a_run(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", risky(tmp_path / "run"))
    assert done.code == 0
    assert "below a confidence of 0.6200: answers 95.0% of the validation photos, 1.0% of these" in done.out
    assert done.out.splitlines()[-1].split() == ["90.0%", "0.7500", "0.4%"] * 2


def test_inspect_gives_a_run_as_json(cli: Cli, tmp_path: Path) -> None:
    found = json.loads(cli("inspect", risky(tmp_path / "run"), "--json").out)
    assert found["confidence"]["threshold"] == 0.62
    assert found["risk_coverage"]["test"]["rows"][1]["error"] == 0.004


def test_inspect_shows_an_earlier_run(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", run(tmp_path / "run"))
    assert done.code == 0 and "validation" in done.out and "unsure" not in done.out


def test_training_says_that_it_always_answers() -> None:
    assert words.unsure(Confidence(1.2, 0.0)) == "never, it answers every photo"


def test_manifest_and_readme_say_it(tmp_path: Path) -> None:
    trained = RunFolder(risky(tmp_path / "run")).read_run()
    made = bundling._manifest(trained, [row("onnx-fp32", 0.93)], (), {"onnx-fp32": ()}, False, tmp_path)
    assert made.confidence == FITTED and made.artifacts[0].coverage == 0.93
    assert contract.parse_manifest(contract.manifest_json(made).encode(), "here") == made
    assert "Where the largest is below 0.62, the model is unsure." in bundling._readme(made, trained, None)
    silent = replace(made, confidence=replace(FITTED, threshold=0.0))
    assert "unsure" not in bundling._readme(silent, trained, None)


def reference(count: int = 100) -> golden.Golden:
    """Half of the answers .95 sure, half .7, all right."""
    probabilities = np.array([[0.95, 0.05], [0.7, 0.3]] * (count // 2), np.float32)
    labels = np.zeros(count, np.int64)
    return golden.Golden(np.zeros((count, 8, 8, 3), np.uint8), labels, probabilities, ("",) * count, {})


def test_artifact_is_held_to_keras_doubt() -> None:
    known = reference()
    same = parity._abstaining(row("a", None), known.probabilities + 1e-6, known, Confidence(1.0, 0.8))
    assert (same.coverage, same.answered_error, same.remarks) == (0.5, 0.0, ())
    earlier = parity._abstaining(row("a", None), known.probabilities, known, None)
    assert earlier.coverage is None


def test_artifact_that_is_surer_is_remarked() -> None:
    """Planted: agreement is whole, and what Keras is unsure of is now answered."""
    known = reference()
    surer = np.array([[0.96, 0.04], [0.9, 0.1]] * 50, np.float32)
    found = parity._abstaining(row("a", None), surer, known, Confidence(1.0, 0.8))
    assert found.coverage == 1.0 and found.verdict == "passed"
    assert found.remarks == ("answers 100.0% of the photos, being sure enough; Keras 50.0%",)


@pytest.mark.slow
def test_run_carries_its_doubt_to_the_bundle(small_run: Path) -> None:
    folder = RunFolder(small_run)
    fitted, report = folder.read_run().confidence, folder.read_parity()
    manifest = reader.open_bundle(small_run / "bundle").manifest
    assert fitted and manifest.confidence == fitted and fitted.images == 135
    assert 1 / 3 < fitted.threshold < 1 and 0.8 < fitted.coverage < 1
    assert {split: len(one.rows) for split, one in folder.read_risk().items()} == {"validation": 7, "test": 7}
    shares = {row.variant: row.coverage for row in report.rows}
    for variant, share in shares.items():
        most = 0.1 if variant == "tflite-int8" else 0.01
        assert share == pytest.approx(report.reference.coverage, abs=most)
    assert {one.variant: one.coverage for one in manifest.artifacts} == shares
