"""What an artifact answers otherwise than Keras: the list, the sheet, and what is told of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Done
from tests.helpers.small_run import SMALL
from tledge._io import files
from tledge.config import Parity
from tledge.contract import AbstentionPolicy
from tledge.errors import RunError
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden
from tledge.run.records import ParityReport, ParityRow, Reference
from tledge.verification import flips, parity
from tledge.verification.verify import verify_run
from tledge.visualization import contact_sheet

NAMES = ("cat", "dog", "owl")


def answers(*given: tuple[int, float]) -> NDArray[np.float32]:
    """Probabilities [N, 3] with this class and confidence in front."""
    made = np.array([[(1 - sure) / 2] * 3 for _answer, sure in given], np.float32)
    for row, (answer, sure) in enumerate(given):
        made[row, answer] = sure
    return made


KERAS = answers((0, 0.9), (1, 0.6), (2, 0.99), (0, 0.8), (0, 0.9))
FOUND = answers((1, 0.5), (1, 0.6), (0, 0.7), (2, 0.45), (0, 0.9))
LABELS = np.array([0, 1, 0, 1, 0])
"""Kinds: 0 lost, 1 the same, 2 won, 3 moved, 4 the same."""


def reference(count: int = 5) -> Golden:
    """The five rows above, again and again."""
    rows = np.arange(count) % 5
    pixels = np.broadcast_to(
        (np.arange(count) * 3 % 250).astype(np.uint8)[:, None, None, None], (count, 8, 8, 3)
    )
    ids = tuple(f"photos/{number}.jpg" for number in range(count))
    return Golden(pixels, LABELS[rows], KERAS[rows], ids, {})


def test_flips_are_found_surest_first() -> None:
    won, lost, moved = flips.find(reference(), FOUND, NAMES)
    assert won == flips.Flip("photos/2.jpg", 2, "won", "cat", "owl", 0.99, "cat", 0.7)
    assert lost == flips.Flip("photos/0.jpg", 0, "lost", "cat", "cat", 0.9, "dog", 0.5)
    assert moved == flips.Flip("photos/3.jpg", 3, "moved", "dog", "cat", 0.8, "owl", 0.45)


def test_flips_tell_the_confidence_that_predict_shows() -> None:
    """At temperature 2, .99 beside .005 and .005 is .876."""
    policy = AbstentionPolicy(2.0, 0.5)
    won, *_rest = flips.find(reference(), FOUND, NAMES, policy)
    assert won.keras_confidence == pytest.approx(0.8756, abs=1e-4)
    assert won.artifact_confidence == pytest.approx(0.5192, abs=1e-4)


def test_equal_answers_are_no_flips(tmp_path: Path) -> None:
    less_sure = KERAS * np.float32(0.9) + np.float32(0.1 / 3)
    assert flips.find(reference(), less_sure, NAMES) == []
    assert flips.write(tmp_path, "tflite-int8", reference(), less_sure, NAMES) == ""
    assert list(tmp_path.iterdir()) == []


def test_list_and_sheet_are_written(tmp_path: Path) -> None:
    path = flips.write(tmp_path, "tflite-int8", reference(), FOUND, NAMES)
    assert path == "evidence/tflite-int8-flips.json"
    told = json.loads((tmp_path / path).read_text())
    assert [told[name] for name in ("images", "lost", "won", "moved")] == [5, 1, 1, 1]
    assert [one["row"] for one in told["flips"]] == [2, 0, 3]
    assert told["flips"][0]["image"] == "photos/2.jpg"
    with Image.open(tmp_path / "evidence" / "tflite-int8-flips.png") as sheet:
        assert sheet.format == "PNG"


def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int) -> dict[str, Any]:
    """What the contact sheet is asked to draw for `count` rows."""
    seen: dict[str, Any] = {}

    def sheet(images: Any, captions: Any, path: Path, title: str, below: Any) -> None:
        seen.update(images=images, captions=captions, title=title, below=below)
        path.write_bytes(b"")

    monkeypatch.setattr(contact_sheet, "sheet", sheet)
    found = np.concatenate([FOUND] * (count // 5))
    flips.write(tmp_path, "tflite-int8", reference(count), found, NAMES)
    return seen


def test_list_reads_back(tmp_path: Path) -> None:
    path = tmp_path / flips.write(tmp_path, "tflite-int8", reference(), FOUND, NAMES)
    found = flips.read_listing(path)
    assert (found.variant, found.images, found.lost, found.won, found.moved) == ("tflite-int8", 5, 1, 1, 1)
    assert list(found.flips) == flips.find(reference(), FOUND, NAMES)
    for damage in ('"flips": [1]', '"flips": [{"image": 3}]', '"won": 1'):
        path.write_text("{" + damage + "}")
        with pytest.raises(
            RunError, match=r"incomplete, or written by another version of tledge.*tledge verify"
        ):
            flips.read_listing(path)


def test_sheet_shows_both_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = drawn(monkeypatch, tmp_path, 5)
    assert seen["title"] == "tflite-int8: 1 regression, 1 fix, 1 still wrong"
    assert [int(one[0, 0, 0]) for one in seen["images"]] == [6, 0, 9]
    assert seen["captions"] == ["fix: cat", "regression: cat", "still wrong: dog"]
    before, after = seen["below"]
    assert before == ["Keras 99% owl", "Keras 90% cat", "Keras 80% cat"]
    assert after == ["now 70% cat", "now 50% dog", "now 45% owl"]


def test_sheet_has_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = drawn(monkeypatch, tmp_path, 100)
    assert seen["title"].endswith("20 regressions, 20 fixes, 20 still wrong")
    seen = drawn(monkeypatch, tmp_path, 105)
    assert len(seen["images"]) == len(seen["captions"]) == contact_sheet.MAX_IMAGES
    assert seen["title"].endswith("21 still wrong (the 60 that Keras was most confident of)")
    assert len(json.loads((tmp_path / "evidence/tflite-int8-flips.json").read_text())["flips"]) == 63


def test_lists_of_before_are_removed(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    kinds = ("json", "png")
    names = [f"{one}-flips.{kind}" for one in ("onnx-fp32", "tflite-int8") for kind in kinds]
    for name in (*names, "calibration.npy", "tflite-int8-uncorrected.tflite", "my-flips.txt"):
        (evidence / name).write_bytes(b"x")
    flips.keep_only(tmp_path, ["evidence/tflite-int8-flips.json", ""])
    assert {path.name for path in evidence.iterdir()} == {
        "calibration.npy", "my-flips.txt", "tflite-int8-flips.json", "tflite-int8-flips.png",
        "tflite-int8-uncorrected.tflite",
    }  # fmt: skip


def test_nothing_to_remove(tmp_path: Path) -> None:
    flips.keep_only(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def verified(path: Path, changed: int) -> tuple[RunFolder, ParityReport]:
    """A run of 40 photos whose only artifact differs from Keras on so many of them."""
    folder = RunFolder(path if path.exists() else fake_artifacts.run(path))
    for name in ("saved_model", "onnx-fp32"):
        (folder.artifacts / f"{name}.json").unlink(missing_ok=True)
    pixels = np.random.default_rng(5).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    own = np.stack([pixels.reshape(40, -1) @ row for row in fake_artifacts.weights()], axis=1)
    keras = own.astype(np.float32)
    labels = keras.argmax(1)
    keras[:changed] = np.roll(keras[:changed], 1, axis=1)
    golden_set.save(folder.golden, Golden(pixels, labels, keras, tuple(f"{n}.jpg" for n in range(40)), {}))
    return folder, verify_run(folder, Parity())


def test_verification_lists_flips(tmp_path: Path) -> None:
    folder, report = verified(tmp_path / "run", changed=3)
    (row,) = report.rows
    assert (row.won, row.lost, row.moved) == (3, 0, 0)
    assert sum(images for images, _before, _after in row.recall.values()) == 40
    assert report.reference.ece is not None and row.ece is not None
    told = json.loads((folder.path / row.flips).read_text())
    assert sorted(one["image"] for one in told["flips"]) == ["0.jpg", "1.jpg", "2.jpg"]
    assert folder.read_parity() == report


def test_stale_flips_are_removed(tmp_path: Path) -> None:
    verified(tmp_path / "run", changed=3)
    folder, report = verified(tmp_path / "run", changed=0)
    assert (report.rows[0].flips, report.rows[0].won) == ("", 0)
    assert list((folder.path / "evidence").iterdir()) == []


def test_broken_artifact_has_no_flips(tmp_path: Path) -> None:
    verified(tmp_path / "run", changed=3)
    (tmp_path / "run" / "artifacts" / "tflite-fp32.tflite").write_bytes(b"")
    folder, report = verified(tmp_path / "run", changed=3)
    assert (report.rows[0].verdict, report.rows[0].lost, report.rows[0].flips) == ("failed", None, "")
    assert list((folder.path / "evidence").iterdir()) == []


@pytest.mark.parametrize("answer", [np.full((40, 3), np.nan), np.full((40, 2), 0.5)])
def test_incomparable_answers_are_no_flips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: NDArray[np.float64]
) -> None:
    folder, _report = verified(tmp_path / "run", changed=3)
    monkeypatch.setattr(parity, "predict_all", lambda *_rest: answer.astype(np.float32))
    (row,) = verify_run(folder, Parity()).rows
    assert (row.verdict, row.lost, row.flips) == ("failed", None, "")


def test_undecided_row_names_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _report = verified(tmp_path / "run", changed=0)
    limits = Parity(float_agreement=0.99, float_max_dp=1.0)
    (broken,) = verify_run(folder, limits).rows
    assert (broken.verdict, broken.images_needed) == ("failed", None)
    monkeypatch.setattr(parity, "structural_reasons", lambda *_rest: [])
    (row,) = verify_run(folder, limits).rows
    assert (row.verdict, row.images_needed) == ("undecided", 100)
    (row,) = verify_run(folder, replace(limits, float_agreement=0.975)).rows
    assert (row.verdict, row.images_needed) == ("passed", None)


ROW = ParityRow(
    "tflite-int8", "artifacts/tflite-int8.tflite", "ab", 633_000, "passed",
    images=372, accuracy=0.9731, accuracy_change=-0.0027, change_low=-0.0134, change_high=0.0081,
    mcnemar_p=1.0, agreement=0.9892, agreement_low=0.9727, agreement_high=0.9958, max_abs_dp=0.11,
    kernels="xnnpack", ece=0.0312, lost=2, won=1, moved=1, flips="evidence/tflite-int8-flips.json",
    worst_class="rock", worst_class_change=-0.0161,
)  # fmt: skip
SAME = replace(ROW, variant="onnx-fp32", flips="", lost=0, won=0, moved=0, worst_class_change=0.0)


def differences(*rows: ParityRow, ece: float | None = 0.0281) -> list[str]:
    from tledge.cli import tables

    return tables.differences(ParityReport(True, Reference(0.9758, 372, ece), rows), Path("runs/rps"))


def test_flips_are_told_in_two_lines() -> None:
    assert differences(SAME, ROW) == [
        "tflite-int8: 4 of 372 predictions changed (2 regressions, 1 fix, 1 wrong both times): "
        "runs/rps/evidence/tflite-int8-flips.png",
        "tflite-int8: agreement 97.3%–99.6%, McNemar p 1, ECE 0.0312 (Keras 0.0281), "
        "worst class rock -1.61 pp of recall",
    ]


def test_class_that_won_is_not_worst() -> None:
    for change in (None, 0.0, 0.02):
        assert "worst class" not in differences(replace(ROW, worst_class_change=change))[1]


def test_equal_answers_are_told() -> None:
    assert differences(SAME, SAME) == ["All predictions match Keras. Calibration error (ECE): 0.0281."]


def test_unmeasured_rows_tell_nothing() -> None:
    """A bundle's rows are held to the answers recorded at export; a skipped one to nothing."""
    bare = ParityRow("saved_model", "saved_model", "ab", 1, "skipped")
    assert differences(bare, ece=None) == []
    assert differences(SAME, bare) == []


@pytest.mark.parametrize("changed", [3, 0])
def test_command_tells_where_sheet_lies(tmp_path: Path, cli: Any, changed: int) -> None:
    folder, _report = verified(tmp_path / "run", changed)
    files.write_text(folder.recipe, SMALL)
    files.write_json(folder.environment, {})
    done: Done = cli("verify", folder.path, "--quiet")
    sheet = folder.path / "evidence" / "tflite-fp32-flips.png"
    assert (f"(0 regressions, 3 fixes, 0 wrong both times): {sheet}\n" in done.out) == bool(changed)
    assert ("All predictions match Keras" in done.out) == (not changed)
    assert sheet.is_file() == bool(changed)
