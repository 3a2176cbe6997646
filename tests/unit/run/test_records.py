"""The run folder: whole files or none, hashes, zips without a clock, and values read back."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tledge import runs
from tledge.contract import Confidence, InputSpec
from tledge.errors import RunError
from tledge.runs import (
    Artifact,
    ParityReport,
    ParityRow,
    Reference,
    Risk,
    RiskCoverage,
    RunFolder,
    Score,
    TrainedRun,
)

SCORE = Score(images=120, accuracy=0.95, low=0.9, high=0.975)
RUN = TrainedRun(
    name="hands",
    version="1",
    seed=3,
    description="Hände, 手",
    synthetic=True,
    labels=("paper", "rock", "scissors"),
    input=InputSpec(96, 128),
    backbone="tiny",
    parameters=12_345,
    train_images=900,
    validation=SCORE,
    test=Score(300, 0.91, 0.87, 0.94, top5=0.99),
    frozen=SCORE,
    seconds=1.5,
    cache="/somewhere",
    skipped=("a.jpg: empty",),
    confidence=Confidence(1.87, 0.62, 120, 0.95, 0.01),
)
ROW = ParityRow("tflite-int8", "artifacts/tflite-int8.tflite", "ab" * 32, 4321, "undecided")
REPORT = ParityReport(
    passed=False,
    reference=Reference(0.91, 300, 0.02, coverage=0.95, answered_error=0.02),
    rows=(
        ROW,
        ParityRow(
            "onnx-fp32", "artifacts/onnx-fp32.onnx", "cd" * 32, 98765, "failed",
            accuracy=0.5, reasons=("weights dropped", "too small"), without_bias_correction={"accuracy": 0.1},
            ece=0.03, lost=3, won=1, moved=0, flips="evidence/onnx-fp32-flips.json", worst_class="rock",
            worst_class_change=-0.02, recall={"rock": (100, 0.95, 0.93), "手": (200, 0.89, 0.89)},
            coverage=0.7, answered_error=0.4, remarks=("answers 70.0% of the photos",),
        ),
    ),
)  # fmt: skip


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_replacing_makes_folders_above(tmp_path: Path) -> None:
    with runs.replacing(tmp_path / "a" / "b" / "c.txt") as made:
        made.write_text("text")
    assert files_of(tmp_path) == {"a/b/c.txt": b"text"}


def test_replacing_leaves_nothing_on_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), runs.replacing(tmp_path / "new.txt") as made:
        made.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_replacing_keeps_old_on_failure(tmp_path: Path) -> None:
    fill(tmp_path, {"file": b"old", "folder/x": b"old"})
    for name in ("file", "folder"):
        with pytest.raises(ValueError, match="stop"), runs.replacing(tmp_path / name):
            raise ValueError("stop")
    assert files_of(tmp_path) == {"file": b"old", "folder/x": b"old"}


def test_replacing_hides_unfinished_work(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with runs.replacing(path) as made:
        made.write_text("new")
        assert path.read_text() == "old"
    assert files_of(tmp_path) == {"file": b"new"}


def test_replacing_swaps_whole_folders(tmp_path: Path) -> None:
    fill(tmp_path, {"out/gone": b"1", "out/kept": b"1"})
    with runs.replacing(tmp_path / "out") as made:
        fill(made, {"kept": b"2", "sub/new": b"2"})
    assert files_of(tmp_path) == {"out/kept": b"2", "out/sub/new": b"2"}


def test_replacing_without_result_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), runs.replacing(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_text_is_utf8_with_newlines(tmp_path: Path) -> None:
    runs.write_text(tmp_path / "a.txt", "é\n手\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n手\n".encode()


def test_sha256_of_a_file(tmp_path: Path) -> None:
    fill(tmp_path, {"empty": b"", "abc": b"abc"})
    assert runs.sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")
    assert runs.sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize(
    "files",
    [
        {"x": b"1", "sub/y": b"3"},
        {"z": b"1", "sub/y": b"2"},
        {"x": b"1", "other/y": b"2"},
        {"x": b"1", "sub/y": b"2", "more": b""},
        {"x": b"1"},
        {"x": b"2", "sub/y": b"1"},
    ],
    ids=["byte", "name", "folder", "one-more", "one-less", "swapped"],
)
def test_sha256_of_changed_folder_differs(tmp_path: Path, files: dict[str, bytes]) -> None:
    before = fill(tmp_path / "before", {"x": b"1", "sub/y": b"2"})
    assert runs.sha256(before) != runs.sha256(fill(tmp_path / "after", files))


def test_sha256_knows_content_only(tmp_path: Path) -> None:
    first = fill(tmp_path / "first", {"x": b"1", "sub/y": b"2"})
    second = fill(tmp_path / "second", {"sub/y": b"2", "x": b"1"})
    os.utime(second / "x", (0, 0))
    assert runs.sha256(first) == runs.sha256(second)


def test_size_counts_all_files(tmp_path: Path) -> None:
    fill(tmp_path, {"x": b"123", "sub/y": b"4567"})
    assert (runs.size_of(tmp_path), runs.size_of(tmp_path / "x")) == (7, 3)


def test_zip_forgets_the_clock(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", {"b.txt": b"b", "sub/a.txt": b"a"})
    runs.canonical_zip(folder, tmp_path / "first.zip")
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (folder / "b.txt").chmod(0o600)
    runs.canonical_zip(folder, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_zip_holds_all_files(tmp_path: Path) -> None:
    files = {"b.txt": b"b" * 1000, "sub/a.txt": b"", "sub/ü 手.txt": b"a"}
    runs.canonical_zip(fill(tmp_path / "in", files), tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == files


def test_zip_of_zip_is_same(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", {"a/x": b"1", "a-b/x": b"2", "a.txt": b"3"})
    with zipfile.ZipFile(tmp_path / "loose.zip", "w") as loose:
        for name, data in files_of(folder).items():
            loose.writestr(name, data)
    runs.canonical_zip(folder, tmp_path / "first.zip")
    runs.canonical_zip(tmp_path / "loose.zip", tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_zip_rewrites_on_the_way(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", {"a": b"old", "b": b"old"})
    runs.canonical_zip(folder, tmp_path / "out.zip", lambda name, data: b"new" if name == "a" else data)
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert (packed.read("a"), packed.read("b")) == (b"new", b"old")


def test_newest_run_ended_last(tmp_path: Path) -> None:
    for name, seconds in (("a", 200), ("b", 300), ("c", 100)):
        path = fill(tmp_path / name, {"run.json": b"{}"}) / "run.json"
        os.utime(path, (seconds, seconds))
    fill(tmp_path / "unfinished", {"recipe.toml": b""})
    assert runs.newest_run(tmp_path).path == tmp_path / "b"


def test_no_finished_run_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "unfinished", {"recipe.toml": b""})
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"no finished run here\. Run `tledge train"):
            runs.newest_run(root)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "damaged"), (b'{"a": 1', "damaged"), (b"\xff\xfe", "damaged"), (b"[1]", "expected a JSON object")],
)
def test_damaged_json_is_explained(tmp_path: Path, data: bytes, message: str) -> None:
    path = fill(tmp_path, {"x.json": data}) / "x.json"
    with pytest.raises(RunError, match=rf"x\.json: {message}.*Do this\."):
        runs.read_json(path, "a thing", "Do this.")


def test_missing_json_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a thing, x\.json is missing\. Do this\."):
        runs.read_json(tmp_path / "x.json", "a thing", "Do this.")


def test_run_comes_back_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    runs.write_json(folder.run, RUN)
    assert folder.read_run() == RUN


def test_run_of_earlier_version_is_read(tmp_path: Path) -> None:
    raw = {name: value for name, value in asdict(RUN).items() if name != "confidence"}
    runs.write_json(RunFolder(tmp_path).run, raw)
    assert RunFolder(tmp_path).read_run() == replace(RUN, confidence=None)
    assert RunFolder(tmp_path).read_risk() == {}


def test_risk_comes_back_whole(tmp_path: Path) -> None:
    found = {"test": RiskCoverage(0.01, (Risk(0.3, 1.0, 0.05), Risk(0.8, 0.5, 0.0)))}
    folder = RunFolder(tmp_path)
    runs.write_json(folder.risk, {split: asdict(one) for split, one in found.items()})
    assert folder.read_risk() == found
    folder.risk.write_text('{"test": {"rows": []}}')
    with pytest.raises(RunError, match=r"risk_coverage\.json: incomplete.*Train again"):
        folder.read_risk()


def test_run_json_keeps_its_names(tmp_path: Path) -> None:
    runs.write_json(tmp_path / "run.json", RUN)
    raw = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert {"name", "seed", "labels", "input", "validation", "test"} <= raw.keys()
    assert {"height", "width", "dtype"} <= raw["input"].keys()
    assert {"images", "accuracy", "low", "high"} <= raw["test"].keys()


def test_parity_comes_back_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    runs.write_json(folder.parity, REPORT)
    assert folder.read_parity() == REPORT


def test_parity_of_before_is_read(tmp_path: Path) -> None:
    """As written when rows told neither flips nor classes, and the reference no calibration error."""
    row = {"variant": "tflite-int8", "path": "artifacts/a", "sha256": "ab", "bytes": 1, "verdict": "passed"}
    old = {"passed": True, "reference": {"accuracy": 0.9, "images": 30}, "rows": [{**row, "reasons": []}]}
    runs.write_json(tmp_path / "parity.json", old)
    found = RunFolder(tmp_path).read_parity()
    assert found.reference.ece is None
    assert (found.rows[0].flips, found.rows[0].lost, found.rows[0].recall) == ("", None, {})


def test_artifacts_come_back_by_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    made = [Artifact(name, f"artifacts/{name}", "ab", 1, 0.5, {"n": [1]}) for name in ("onnx-fp32", "a")]
    for one in made:
        runs.write_json(folder.artifacts / f"{one.variant}.json", one)
    assert folder.read_artifacts() == sorted(made, key=lambda one: one.variant)


def test_unfinished_run_says_next_command(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a finished run.*`tledge train`"):
        RunFolder(tmp_path).read_run()
    with pytest.raises(RunError, match=r"not a verified run.*`tledge verify`"):
        RunFolder(tmp_path).read_parity()
    assert RunFolder(tmp_path).read_artifacts() == []


def read_run(folder: RunFolder) -> object:
    return folder.read_run()


def read_parity(folder: RunFolder) -> object:
    return folder.read_parity()


def read_artifacts(folder: RunFolder) -> object:
    return folder.read_artifacts()


@pytest.mark.parametrize("text", ["{}", '{"rows": null, "input": null}'])
@pytest.mark.parametrize(
    ("name", "read"),
    [("run.json", read_run), ("parity.json", read_parity), ("artifacts/a.json", read_artifacts)],
)
def test_incomplete_value_is_run_error(
    tmp_path: Path, name: str, read: Callable[[RunFolder], object], text: str
) -> None:
    fill(tmp_path, {name: text.encode()})
    with pytest.raises(RunError, match=r"\.json"):
        read(RunFolder(tmp_path))


def test_finished_training_is_resumed_for_nothing(tmp_path: Path) -> None:
    """Killed after its last file was written, or in the hands of a scheduler that always resumes."""
    from tledge import given, training

    recipe, text = given.read_recipe("quickstart", ())
    folder = RunFolder(tmp_path / "run")
    runs.write_json(folder.run, RUN)
    runs.write_json(folder.environment, {"settings": []})
    runs.write_text(folder.recipe, text)
    folder.checkpoints.mkdir()
    assert training.train(recipe, text, folder.path, resume=True) == RUN
    assert not folder.checkpoints.exists()
    with pytest.raises(RunError, match="begun with another recipe or --set"):
        training.train(recipe, text, folder.path, resume=True, settings=("model.width=2",))
    with pytest.raises(RunError, match="holds a finished run"):
        training.train(recipe, text, folder.path)
