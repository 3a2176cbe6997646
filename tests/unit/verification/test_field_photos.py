"""Photos from the field beside the recorded test figures."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tledge
from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tledge.data import cache_index
from tledge.data.cache_index import CacheHeader, Row, row_line
from tledge.errors import DataError, RecipeError
from tledge.run.folder import RunFolder
from tledge.verification import field_photos
from tledge.verification.field_photos import FieldRow, confusions, verify_photos


def photos(root: Path, *labels: str, count: int = 4) -> Path:
    """Write noise for each label, or without labels."""
    rng = np.random.default_rng(0)
    for label in labels or ("",):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


def with_cache(run: Path, cache: Path, *known: tuple[str, Path]) -> None:
    """Give the run a cache that knows these photos by id."""
    rows = [Row(name, "cat", "train", sha256(path.read_bytes()).hexdigest()) for name, path in known]
    cache.mkdir()
    header = CacheHeader(("cat",), (), 8)
    cache_index.write(cache / "index.json", header, map(row_line, rows))
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"cache": str(cache)}))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return fake_artifacts.run(tmp_path / "run")


def row_of(report: Any, variant: str) -> FieldRow:
    row: FieldRow = next(row for row in report.rows if row.variant == variant)
    return row


def test_labelled_photos_show_accuracy(run: Path, tmp_path: Path) -> None:
    report = verify_photos(run, photos(tmp_path / "p", "cat", "dog"))
    assert (report.images, report.labelled, report.reference) == (8, 8, "tflite-fp32")
    row = row_of(report, "tflite-fp32")
    right = sum(recall * images for images, recall in row.recall.values())
    assert row.accuracy == pytest.approx(right / 8) and row.low is not None and row.low <= row.accuracy
    assert row.recorded_accuracy == 0.85 and row.recorded_images == 5 and row.p is not None
    assert sum(sum(by.values()) for by in row.confusion.values()) == 8
    assert row_of(report, "onnx-fp32").agreement == 1.0 and row_of(report, "onnx-fp32").lost == 0
    assert row_of(report, "saved_model").status == "skipped"
    assert report.rows[0].variant == "tflite-fp32"
    assert any("cache of the training photos is gone" in line for line in report.remarks)


def test_photos_without_labels_show_agreement(run: Path, tmp_path: Path) -> None:
    report = verify_photos(run, photos(tmp_path / "p"))
    row = row_of(report, "onnx-fp32")
    assert report.labelled == 0 and row.accuracy is None and row.agreement == 1.0 and row.lost is None
    assert row.confidence is not None and report.summary == ()
    assert any("no labels" in line for line in report.remarks)


def test_training_photos_are_left_out_and_test_photos_named(run: Path, tmp_path: Path) -> None:
    root = photos(tmp_path / "p", "cat")
    with_cache(run, tmp_path / "cache", ("x", root / "cat/0.png"), ("a", root / "cat/1.png"))
    report = verify_photos(run, root)
    assert report.images == 3
    assert any("Left out: 1 photo that the model was trained on" in line for line in report.remarks)
    assert any("1 photo of these are test images" in line for line in report.remarks)


def test_training_photos_alone_are_refused(run: Path, tmp_path: Path) -> None:
    root = photos(tmp_path / "p", "cat", count=1)
    with_cache(run, tmp_path / "cache", ("x", root / "cat/0.png"))
    with pytest.raises(DataError, match="all 1 photos are among those"):
        verify_photos(run, root)


def test_labels_that_the_model_lacks_count_for_agreement(run: Path, tmp_path: Path) -> None:
    report = verify_photos(run, photos(tmp_path / "p", "cat", "zebra"))
    assert (report.images, report.labelled) == (8, 4)
    assert any("4 photos have a label that the model lacks" in line for line in report.remarks)


def test_bundle_is_measured_too(tmp_path: Path) -> None:
    bundle = fake_artifacts.bundle(tmp_path / "bundle")
    report = tledge.verify(bundle, photos=photos(tmp_path / "p", "cat", "dog"))
    assert report.labelled == 8 and any("A bundle does not list" in line for line in report.remarks)


@pytest.mark.parametrize(
    ("accuracy", "p", "words"),
    [(0.2, 1e-6, "worse"), (0.99, 1e-3, "better"), (0.8, 0.4, "No accuracy differs")],
)
def test_sentence_says_what_is_beyond_chance(accuracy: float, p: float, words: str) -> None:
    row = FieldRow("tflite-int8", accuracy=accuracy, recorded_accuracy=0.85, recorded_images=300, p=p)
    (sentence,) = field_photos._summary([row], "keras", 100)
    assert words in sentence and "Fisher's exact test" in sentence


def test_low_agreement_is_said() -> None:
    row = FieldRow("tflite-int8", agreement=0.8, agreement_low=0.7, agreement_high=0.9)
    (sentence,) = field_photos._summary([row], "keras", 100)
    assert "predicts as keras on 80.0% of 100 photos" in sentence


def test_confusions_are_sorted() -> None:
    row = FieldRow("keras", confusion={"a": {"a": 9, "b": 2}, "b": {"a": 5, "b": 1}})
    assert confusions(row) == [(5, "b", "a"), (2, "a", "b")]


def test_changed_artifact_is_four(run: Path, tmp_path: Path, cli: Cli) -> None:
    root = photos(tmp_path / "p", "cat")
    (run / "artifacts" / "onnx-fp32.onnx").write_bytes(b"exchanged")
    done = cli("verify", run, "--photos", root)
    assert done.code == 4 and "onnx-fp32 failed: artifacts/onnx-fp32.onnx changed" in done.out


@pytest.mark.parametrize("labels", [("cat", "dog"), ()])
def test_command_prints_a_table(run: Path, tmp_path: Path, cli: Cli, labels: tuple[str, ...]) -> None:
    done = cli("verify", run, "--photos", photos(tmp_path / "p", *labels))
    assert done.code == 0 and "agreement" in done.out and "tflite-fp32" in done.out
    assert ("on test images" in done.out) == bool(labels) == ("85.0% of 5" in done.out)


def test_command_prints_json(run: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("verify", run, "--photos", photos(tmp_path / "p", "cat"), "--json")
    found = json.loads(done.out)
    assert found["labelled"] == 4 and {row["variant"] for row in found["rows"]} >= {
        "tflite-fp32",
        "onnx-fp32",
    }


def test_other_options_do_not_go_with_photos(run: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli("verify", run, "--photos", tmp_path, "--skew").code == 2
    with pytest.raises(RecipeError, match="no such folder"):
        verify_photos(run, tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="expected a finished run"):
        verify_photos(tmp_path, photos(tmp_path / "p"))


def test_run_folder_is_left_as_it_was(run: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in run.rglob("*"))
    verify_photos(run, photos(tmp_path / "p", "cat"))
    assert sorted(path.name for path in run.rglob("*")) == before and RunFolder(run).run.is_file()
