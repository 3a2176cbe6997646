"""Which artifacts a bundle ships, and that what stands beside them is the run's own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_pairs
from tests.helpers.doubt import FITTED
from tledge._io import files
from tledge.bundle import build, reader
from tledge.bundle.manifest import GoldenCase, Manifest
from tledge.contract import TOLERANCES
from tledge.errors import InconclusiveError, ParityFailed, RunError, TledgeError
from tledge.preprocessing import image
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.runtime import sessions


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of two artifacts that passed."""
    return RunFolder(fake_pairs.run(tmp_path / "run"))


def judge(run: RunFolder, *verdicts: str) -> None:
    """Write other verdicts of the artifacts, in their order, into `parity.json`."""
    report = run.read_parity()
    rows = tuple(replace(row, verdict=verdict) for row, verdict in zip(report.rows, verdicts, strict=True))
    files.write_json(run.parity, replace(report, rows=rows))


def test_only_artifacts_that_passed_are_shipped(run: RunFolder) -> None:
    judge(run, "passed", "undecided")
    bundled = build.bundle(run)
    assert (bundled.variants, bundled.left_out) == (("tflite-fp32",), ("onnx-fp32",))
    manifest = reader.open_bundle(bundled.folder).manifest
    assert [entry.variant for entry in manifest.artifacts] == ["tflite-fp32"] and not manifest.unverified
    assert not (bundled.folder / "onnx-fp32.onnx").exists()


def test_provisional_artifacts_are_shipped_with_their_figures(run: RunFolder) -> None:
    judge(run, "passed", "undecided")
    report = run.read_parity()
    figures = {
        "provisional": True, "independent_images": 36, "independent_agreement": 1.0, "independent_low": 0.9,
        "independent_high": 1.0, "accuracy_change": 0.0,
    }  # fmt: skip
    rows = (report.rows[0], replace(report.rows[1], **figures))
    files.write_json(run.parity, replace(report, rows=rows))
    bundled = build.bundle(run)
    assert (bundled.variants, bundled.left_out) == (("tflite-fp32", "onnx-fp32"), ())
    manifest = reader.open_bundle(bundled.folder).manifest
    passed, marked = manifest.artifacts
    assert not manifest.unverified and not passed.provisional and marked.verdict == "undecided"
    assert {name: getattr(marked, name) for name in figures} == figures
    text = (bundled.folder / "README.md").read_text(encoding="utf-8")
    assert "onnx-fp32.onnx is provisional: it agrees with Keras on" in text
    assert "| provisional |" in text and "| provisional |" in (bundled.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("verdict", "error"),
    [("failed", ParityFailed), ("undecided", InconclusiveError), ("skipped", ParityFailed)],
)
def test_nothing_that_passed_is_no_bundle(run: RunFolder, verdict: str, error: type[TledgeError]) -> None:
    judge(run, verdict, verdict)
    with pytest.raises(error, match="no artifact passed verification"):
        build.bundle(run)
    assert not run.bundle.exists() and not list(run.path.glob("*.zip"))


def test_unverified_artifacts_are_shipped_where_asked_for_and_marked(run: RunFolder) -> None:
    judge(run, "passed", "undecided")
    bundled = build.bundle(run, unverified=True)
    assert bundled.left_out == ()
    manifest = reader.open_bundle(bundled.folder).manifest
    assert manifest.unverified and [entry.verdict for entry in manifest.artifacts] == ["passed", "undecided"]


def test_an_artifact_that_changed_after_verification_is_refused(run: RunFolder) -> None:
    (run.artifacts / "onnx-fp32.onnx").write_bytes(b"another")
    with pytest.raises(RunError, match=r"onnx-fp32\.onnx: changed after it was verified"):
        build.bundle(run)
    assert not run.bundle.exists()


@dataclass(frozen=True)
class Shipped:
    """A run and its bundle, which no test may change."""

    run: RunFolder
    golden: golden_set.Golden
    bundled: build.Bundled

    @property
    def folder(self) -> Path:
        return self.bundled.folder

    @cached_property
    def manifest(self) -> Manifest:
        return reader.open_bundle(self.bundled.zip).manifest


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """A run with a policy, Keras predictions that all differ, and a golden photo in another encoding."""
    run = RunFolder(fake_pairs.run(tmp_path_factory.mktemp("shipped") / "run"))
    files.write_json(run.run, replace(run.read_run(), confidence=FITTED, version="1+3f9a02c7"))
    golden = run.read_golden()
    drawn = np.random.default_rng(0).uniform(0.1, 1, golden.probabilities.shape).astype(np.float32)
    golden = replace(golden, probabilities=drawn)
    golden_set.save(run.golden, golden)
    shutil.copy(run.photos / "00.png", run.photos / "grey.png")
    copy = {"photo": "grey.png", "encoding": "grey", "label": 2, "keras": [0.125, 0.75, 0.125]}
    files.write_json(run.photos / "encodings.json", [copy])
    return Shipped(run, golden, build.bundle(run, unverified=True))


def test_a_bundle_without_unverified_artifacts_is_not_marked(shipped: Shipped) -> None:
    assert not shipped.manifest.unverified and shipped.bundled.left_out == ()


def test_golden_photos_of_a_bundle_are_those_of_the_run(shipped: Shipped) -> None:
    """Files, pixels, labels and Keras' predictions belong together, photo by photo."""
    run, golden, folder, manifest = shipped.run, shipped.golden, shipped.folder, shipped.manifest
    rows = range(fake_pairs.COUNT - fake_pairs.PHOTOS, fake_pairs.COUNT)
    labels = run.read_run().labels
    for number, (row, case) in enumerate(zip(rows, manifest.photos, strict=True)):
        best = labels[golden.probabilities[row].argmax()]
        assert case == GoldenCase(f"{number:02d}.png", labels[golden.labels[row]], best, number)
        assert (folder / "golden" / case.photo).read_bytes() == (run.photos / case.photo).read_bytes()
    assert manifest.golden[-1] == GoldenCase("grey.png", "owl", "dog", len(rows), "grey")
    pixels = np.load(folder / "golden" / "pixels.npy")
    keras = np.load(folder / "golden" / "keras.npy")
    np.testing.assert_array_equal(pixels[:-1], golden.images[list(rows)])
    np.testing.assert_array_equal(pixels[-1], image.preprocess(run.photos / "00.png", (8, 8)))
    np.testing.assert_array_equal(keras[:-1], golden.probabilities[list(rows)])
    assert keras[-1].tolist() == [0.125, 0.75, 0.125] and keras.dtype == np.float32


def test_every_artifact_has_its_own_predictions_by_kernels(shipped: Shipped) -> None:
    folder = shipped.folder
    pixels = np.load(folder / "golden" / "pixels.npy")
    lite, onnx = (entry.expected for entry in shipped.manifest.artifacts)
    assert [(one.kernels, one.path) for one in lite] == [
        (kernels, f"golden/tflite-fp32.{kernels}.npy") for kernels in sessions.KERNELS
    ]
    assert [one.path for one in onnx] == ["golden/onnx-fp32.npy"]
    assert {one.tolerance for one in (*lite, *onnx)} == {TOLERANCES["float"]}
    for one in lite:
        session = sessions.LiteRTSession((folder / "tflite-fp32.tflite").read_bytes(), "x", one.kernels)
        np.testing.assert_array_equal(np.load(folder / one.path), session.run(pixels))


def test_manifest_says_what_the_run_does(shipped: Shipped) -> None:
    manifest, record = shipped.manifest, shipped.run.read_run()
    names = ("name", "version", "description", "synthetic", "labels", "input", "parameters", "confidence")
    assert {name: getattr(manifest, name) for name in names} == {
        name: getattr(record, name) for name in names
    }
    assert manifest.confidence == FITTED
    for row, entry in zip(shipped.run.read_parity().rows, manifest.artifacts, strict=True):
        for name in ("variant", "sha256", "bytes", "verdict", "accuracy", "agreement", "kernels", "coverage"):
            assert getattr(entry, name) == getattr(row, name), name
    names_of_files = {path.name for path in shipped.folder.iterdir()}
    assert names_of_files >= {"MODEL_CARD.md", "README.md", "SHA256SUMS", "labels.txt", "manifest.json"}
    assert files.sha256(shipped.bundled.zip) == shipped.bundled.sha256
    assert shipped.bundled.zip.name == "tiny-1+3f9a02c7.zip"
    told = [(shipped.folder / name).read_text(encoding="utf-8") for name in ("MODEL_CARD.md", "README.md")]
    assert all("1+3f9a02c7" in text for text in told)
