"""The stress report: which images are corrupted, what it compares, and that it fails where it should."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import fake_artifacts
from tledge._io import files
from tledge.config import Parity
from tledge.errors import RunError
from tledge.preprocessing.corruptions import corrupt
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import SKIPPED, ParityRow
from tledge.verification import stress

IMAGES = 120


def by_colour(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tell red images from blue ones, which no corruption hides."""
    red, _green, blue = images.mean((1, 2)).T
    return np.where((blue > red)[:, None], (0.1, 0.9), (0.9, 0.1)).astype(np.float32)


def sharpness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean squared difference of neighbours, over the variance: neither light nor contrast change it."""
    values = images.mean(3)
    return (np.diff(values, axis=2) ** 2).mean((1, 2)) / values.var((1, 2))


class Fake:
    """A model that tells colours; one that `needs_edges` calls every blurred image red."""

    kernels = "builtin"

    def __init__(self, *, needs_edges: bool) -> None:
        self.needs_edges, self.closed = needs_edges, False

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert len(images) <= stress.BATCH
        probabilities = by_colour(images)
        if self.needs_edges:
            probabilities[sharpness(images) < 0.5] = (0.9, 0.1)
        return probabilities

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose golden set has striped images, red and blue ones in turn; its artifacts are fakes."""
    folder = RunFolder(fake_artifacts.run(tmp_path / "run"))
    images = np.full((IMAGES, 24, 24, 3), 60, np.uint8)
    images[:, :, np.arange(24) // 4 % 2 == 1] = 160
    images[::2, ..., 0] += 60
    images[1::2, ..., 2] += 60
    probabilities = by_colour(images)
    golden = golden_set.Golden(
        images, probabilities.argmax(1), probabilities, tuple(map(str, range(IMAGES))), {}
    )
    golden_set.save(folder.golden, golden)
    return folder


def measure(run: RunFolder, monkeypatch: pytest.MonkeyPatch, broken: str = "") -> stress.StressReport:
    """Measure a run whose artifact `broken` needs edges."""
    keras = Fake(needs_edges=False)
    monkeypatch.setattr(stress, "KerasSession", lambda path: keras)
    monkeypatch.setattr(
        stress, "_opened", lambda folder, artifact, kernels: Fake(needs_edges=artifact.variant == broken)
    )
    report = stress.stress_run(run, Parity())
    assert keras.closed
    return report


def test_what_holds_clean_and_breaks_under_blur_fails(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an artifact that equals Keras on every clean image and does not see blurred stripes."""
    variant = run.read_artifacts()[0].variant
    golden = run.read_golden()
    assert (Fake(needs_edges=True).run(golden.images[:64]) == golden.probabilities[:64]).all()
    report = measure(run, monkeypatch, variant)
    verdicts = {verdict.variant: verdict for verdict in report.verdicts}
    broken = verdicts.pop(variant)
    assert not report.passed and broken.verdict == "failed" and broken.worst.startswith("blur, level")
    assert broken.reasons[0].startswith(f"under {broken.worst}: agrees with Keras on 60 of 120")
    assert verdicts and all(verdict.verdict == "passed" for verdict in verdicts.values())


def test_verdict_stays_with_the_file(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed under stress fails the parity check too, and no other artifact does."""
    artifact, other = run.read_artifacts()[:2]
    passed = ParityRow(artifact.variant, artifact.path, artifact.sha256, artifact.bytes, "passed")
    assert stress.with_stress(run, passed, Parity()) == passed
    measure(run, monkeypatch, artifact.variant)
    row = stress.with_stress(run, passed, Parity())
    assert row.verdict == "failed" and row.reasons[0].startswith("under blur, level")
    for unchanged in (
        replace(passed, variant=other.variant, sha256=other.sha256),
        replace(passed, sha256="0" * 64),
        replace(passed, verdict=SKIPPED),
    ):
        assert stress.with_stress(run, unchanged, Parity()) == unchanged


@pytest.mark.parametrize("strict", [False, True])
def test_few_images_leave_it_provisional(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    artifact = run.read_artifacts()[0]
    report = measure(run, monkeypatch, artifact.variant)
    verdicts = tuple(replace(verdict, verdict="undecided", reasons=("few",)) for verdict in report.verdicts)
    files.write_json(run.path / stress.EVIDENCE, replace(report, verdicts=verdicts))
    passed = ParityRow(artifact.variant, artifact.path, artifact.sha256, artifact.bytes, "passed")
    row = stress.with_stress(run, passed, Parity(strict=strict))
    assert (row.verdict, row.provisional, row.reasons) == ("undecided", not strict, ("few",))


def test_report_is_written_and_repeats(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    report = measure(run, monkeypatch)
    written = (run.path / stress.EVIDENCE).read_bytes()
    assert report.passed and report.images == IMAGES and report.clean_accuracy == 1.0
    assert len(report.rows) == 27 * len(report.verdicts) == len(json.loads(written)["rows"])
    measure(run, monkeypatch)
    assert (run.path / stress.EVIDENCE).read_bytes() == written


def test_every_image_is_corrupted_by_itself() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    together = stress.corrupted(images, ("noise", 2))
    assert (
        together == np.stack([corrupt(image, "noise", 2, stress.SEED, n) for n, image in enumerate(images)])
    ).all()


def test_large_golden_set_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress, "MAX_IMAGES", 10)
    images, labels = np.zeros((100, 2, 2, 3), np.uint8), np.arange(100) // 50
    golden = golden_set.Golden(
        images, labels, np.eye(2, dtype=np.float32)[labels], tuple(map(str, range(100))), {}
    )
    chosen = stress._selected(golden)
    assert chosen.ids == ("0", "11", "22", "33", "44", "55", "66", "77", "88", "99")
    assert chosen.labels.tolist() == [0] * 5 + [1] * 5


def test_run_without_artifacts_says_so(run: RunFolder) -> None:
    for path in run.artifacts.glob("*.json"):
        path.unlink()
    with pytest.raises(RunError, match="tledge export"):
        stress.stress_run(run, Parity())


def test_float_artifacts_predict_each_third_of_many_images() -> None:
    assert [stress._step(name, 299) for name in ("onnx-fp32", "tflite-int8")] == [1, 1]
    assert [stress._step(name, 300) for name in ("saved_model", "tflite-fp32", "onnx-fp32")] == [3, 3, 3]
    assert [stress._step(name, 300) for name in ("tflite-fp16", "tflite-dynamic", "tflite-int8")] == [1, 1, 1]


def test_thirds_are_compared_with_their_own_reference(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stress, "FLOAT_IMAGES", IMAGES // 3)
    report = measure(run, monkeypatch)
    images = {row.variant: row.images for row in report.rows}
    assert report.passed and images["onnx-fp32"] == IMAGES // 3
