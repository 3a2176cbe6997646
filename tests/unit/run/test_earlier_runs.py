"""Runs that an earlier version wrote, before classes and fields were renamed, open with all their values."""

import json
import shutil
from pathlib import Path

import pytest

from tledge.contract import AbstentionPolicy
from tledge.errors import RunError
from tledge.run.folder import RunFolder
from tledge.run.records import Score, TrainedRun

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture
def earlier(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.artifacts.mkdir()
    for name, target in (
        ("run.json", folder.run),
        ("parity.json", folder.parity),
        ("tflite-int8.json", folder.artifacts),
    ):
        shutil.copy(EARLIER / name, target)
    return folder


def test_trained_run_opens(earlier: RunFolder) -> None:
    run = earlier.read_run()
    assert run.first_stage_validation == Score(300, 0.99, 0.9710165066376601, 0.9965933815622846, None)
    assert run.confidence == AbstentionPolicy(0.621, 0.8863, 300, 0.95, 0.0035087719298245615)
    assert run.labels == ("paper", "rock", "scissors") and (run.input.height, run.input.width) == (96, 96)


def test_parity_report_opens(earlier: RunFolder) -> None:
    report = earlier.read_parity()
    int8 = report.rows[0]
    assert report.passed and report.reference.images == 600
    assert (int8.variant, int8.verdict, int8.recall["paper"]) == (
        "tflite-int8",
        "passed",
        (200, 0.965, 0.965),
    )
    assert int8.without_bias_correction is not None


def test_artifact_opens(earlier: RunFolder) -> None:
    (artifact,) = earlier.read_artifacts()
    assert artifact.details["calibration_images"] == 202 and artifact.bytes == 40138


def test_file_changed_since_it_was_read_is_read_anew(earlier: RunFolder) -> None:
    assert earlier.read_run() is earlier.read_run()
    raw = json.loads(earlier.run.read_text())
    earlier.run.write_text(json.dumps({**raw, "seed": 7}))
    assert earlier.read_run().seed == 7


def test_lost_file_is_told_although_it_was_read(earlier: RunFolder) -> None:
    assert isinstance(earlier.read_run(), TrainedRun)
    earlier.run.unlink()
    with pytest.raises(RunError, match=r"run\.json"):
        earlier.read_run()


def test_replaced_artifact_is_hashed_anew(earlier: RunFolder) -> None:
    file = earlier.artifacts / "net.tflite"
    file.write_bytes(b"one")
    before = earlier.sha256(file)
    other = earlier.artifacts / "other"
    other.write_bytes(b"two")
    other.replace(file)
    assert earlier.sha256(file) != before
