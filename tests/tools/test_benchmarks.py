"""The benchmarks: their table is whole, their arithmetic right, and the cheap rows run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    augmentation_copies,
    drawn_images,
    machine,
    measure,
    processes,
    runner,
    scaling,
    worker,
    workspace,
)
from benchmarks.measure import Measurement, Row
from benchmarks.processes import Timing
from tests.helpers.paths import ROOT

FOLDER = ROOT / "benchmarks"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
WANTED = {
    "frozen": 8.0, "augmented": 3.0, "fine-tune": 1.5, "prepare": 0.9, "decode-epochs": 1.0, "export": 2.9,
    "adopt": 0.67, "verify": 0.8, "predict-start": None, "predict-image": 0.87, "help": None,
}  # fmt: skip


def row(wanted: float | None = 2.0) -> Row:
    return Row("some", "topic", "work", "baseline", wanted, lambda _: measured(4, 1))


def measured(baseline: float, tledge: float, **more: Any) -> Measurement:
    return Measurement((Timing(baseline, 1),), (Timing(tledge, 1),), **more)


def test_table_of_rows_is_whole() -> None:
    assert {one.name: one.wanted for one in runner.ROWS} == WANTED
    assert runner.TOPICS == ("training", "preprocessing", "export", "prediction")


@pytest.mark.parametrize("one", runner.ROWS, ids=lambda one: one.name)
def test_row_names_its_baseline(one: Row) -> None:
    script = one.baseline.split()[0].rstrip(":")
    assert (FOLDER / "baselines" / script).is_file()
    line = next(line for line in README.splitlines() if line.startswith(f"| `{one.name}` |"))
    assert script in line


def test_views_are_compared_head_by_head() -> None:
    """Heads differ from one another by more than the views do: only pairs show it."""
    found = augmentation_copies.summarize({"views": [0.90, 0.95, 0.92], "fresh": [0.91, 0.96, 0.93]})
    assert found["views"] == pytest.approx(0.92333, abs=1e-5)
    assert found["difference"] == pytest.approx(-0.01) and found["standard error"] == pytest.approx(
        0, abs=1e-12
    )


def test_readme_names_wanted_ratios() -> None:
    for name, wanted in WANTED.items():
        (last,) = re.findall(rf"^\| `{name}` \|.*\| ([^|]*) \|$", README, re.M)
        assert wanted is None or re.match(rf"{wanted:g}\b", last), name


@pytest.mark.parametrize("path", sorted((FOLDER / "baselines").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_baseline_stands_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "tledge" not in text and "import measure" not in text
    assert f"python {path.name}" in text
    assert len(text.splitlines()) < 80


@pytest.mark.parametrize(
    ("ratio", "wanted", "conditions", "expected"),
    [
        (2.0, 2.0, {}, "reached"),
        (1.99, 2.0, {}, "missed"),
        (9.0, 2.0, {"same bytes": False}, "missed"),
        (9.0, 2.0, {"same bytes": True}, "reached"),
        (0.1, None, {"at most 1 s": True}, "reached"),
        (9.0, None, {"at most 1 s": False}, "missed"),
        (0.1, None, {}, "reported"),
    ],
)
def test_verdict(ratio: float, wanted: float | None, conditions: dict[str, bool], expected: str) -> None:
    assert measure.verdict(ratio, wanted, conditions) == expected


def test_ratio_is_of_medians() -> None:
    baseline = tuple(Timing(seconds, 2 * seconds) for seconds in (10, 12, 90))
    tledge = tuple(Timing(seconds, seconds) for seconds in (4, 3, 9))
    found = measure.judge(row(), Measurement(baseline, tledge), small=False)
    assert found.ratio == 12 / 4
    assert (found.low, found.high, found.repeats) == (10 / 4, 90 / 9, 3)
    assert found.seconds == {"baseline": 12, "tledge": 4} and found.cpu == {"baseline": 24, "tledge": 4}
    assert found.verdict == "reached"


def test_slower_is_missed() -> None:
    assert measure.judge(row(), measured(1, 4), small=False).verdict == "missed"


def test_small_runs_are_not_judged() -> None:
    found = measure.judge(row(), measured(4, 1, conditions={"same": False}), small=True)
    assert found.verdict == "not judged" and found.conditions == {"same": False}


def test_sides_take_turns() -> None:
    seen: list[str] = []

    def noted(name: str, seconds: float) -> Timing:
        seen.append(name)
        return Timing(seconds, 0)

    baseline, tledge = measure.alternate(lambda: noted("b", 2), lambda: noted("t", 1), 3)
    assert seen == ["b", "t"] * 4  # the first two warm up
    assert [one.seconds for one in (*baseline, *tledge)] == [2, 2, 2, 1, 1, 1]


def test_process_counts_descendants() -> None:
    work = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = [1] * (10 << 20)'])"
    ended = processes.run_process([sys.executable, "-c", f'{work}; print("""{{"a": 1}}""")'], os.environ)
    assert ended.peak_mib > 80 and ended.timing.seconds > 0 and ended.timing.cpu > 0
    assert ended.value() == {"a": 1}


def test_failed_process_says_why() -> None:
    with pytest.raises(processes.BenchmarkError, match=r"ended with 3:\nno photos"):
        processes.run_process(
            [sys.executable, "-c", "import sys; print('no photos', file=sys.stderr); sys.exit(3)"], {}
        )


def test_failed_row_is_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: workspace.Workspace) -> Measurement:
        raise processes.BenchmarkError("no photos")

    found = runner._measure(replace(row(), measure=broken), workspace.Workspace(tmp_path, None))
    assert (found.verdict, found.error, found.ratio) == ("failed", "no photos", None)
    assert "no photos" in capsys.readouterr().err
    runner._print_table([found], small=False)
    assert "failed" in capsys.readouterr().out


def test_machine_is_described() -> None:
    found = machine.describe()
    assert found["cores"] == os.cpu_count() and found["processor"] and found["system"]
    assert found["memory_mib"] > 0 and found["python"].count(".") == 2
    assert {"Pillow", "numpy", "ai-edge-litert"} <= set(found["packages"])
    assert machine.commit(Path("/")) is None


def test_json_holds_machine_and_rows(tmp_path: Path) -> None:
    found = measure.judge(row(), measured(4, 1), small=False)
    runner._write(tmp_path, "topic", {"commit": "abc", **machine.describe()}, [found])
    raw = json.loads((tmp_path / "topic.json").read_text())
    assert raw["cores"] == os.cpu_count() and raw["commit"] == "abc"
    assert raw["rows"] == [json.loads(json.dumps(asdict(found)))] and raw["rows"][0]["ratio"] == 4


def test_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        runner.main(["--only", "help,frosen"])
    assert ended.value.code == 2 and "'frosen'" in capsys.readouterr().err


def test_missing_data_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLEDGE_TEST_DATA", str(tmp_path))
    assert workspace.real_data() is None
    assert "DRAWN" in runner._describe_photos(None) and "RANDOM" in runner._describe_photos(None)
    assert workspace.Workspace(tmp_path, None).weights == "none"


def test_photos_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SMALL", {"train": 33, "test": 6})
    monkeypatch.setattr(worker, "DRAWN", 16)
    worker.write_photos("drawn", str(tmp_path), "True")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    assert len(found) == 39
    assert [name for name in found if name.startswith("validation")] == [
        f"validation/{label}/0009.jpg" for label in ("paper", "rock", "scissors")
    ]


def test_recipes_are_valid(tmp_path: Path) -> None:
    from benchmarks.training_rows import AUGMENT, TOP
    from tledge.recipe import loader

    made = workspace.Workspace(tmp_path, None)
    made.__dict__["photos"] = tmp_path
    found = loader.load(made.recipe("some", augment=f"{AUGMENT}views = 3", stage=TOP))
    assert (found.augment.flip, found.augment.rotation, found.augment.views) == ("horizontal", 0.2, 3)
    assert (found.stage[0].epochs, found.stage[0].unfreeze) == (10, "block_11_expand_relu")
    assert not found.stage[0].restore_best and found.data.splits.validation.origin == "validation"


def test_clock_starts_with_the_stage() -> None:
    from benchmarks.training_rows import Clock

    clock = Clock()
    clock.say("stage.0 head: 154 backbone layers frozen")
    first = clock.begun["stage"]
    clock.finish(clock.start("stage"))
    assert clock.begun["stage"] is first  # frozen layers are computed in between
    assert clock.ended["stage"].seconds >= first.seconds


@pytest.mark.slow(minutes=2)
def test_cheap_rows_run(tmp_path: Path) -> None:
    """With drawn photos and random weights, on purpose: it needs no data."""
    command = [sys.executable, "-m", "benchmarks", "--small", "--out", str(tmp_path)]
    env = {**os.environ, "TLEDGE_TEST_DATA": str(tmp_path / "none")}
    rows = ["help", "predict-start", "predict-image", "prepare"]
    done = subprocess.run(
        [*command, "--only", ",".join(rows)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DRAWN" in done.stdout and "not judged" in done.stdout
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(found) == {"preprocessing", "prediction"}
    seen = {one["name"]: one for raw in found.values() for one in raw["rows"]}
    assert set(seen) == set(rows) and all(one["ratio"] > 0 for one in seen.values())
    assert seen["prepare"]["conditions"] == {"same pixels as bare Pillow": True}
    assert seen["predict-image"]["conditions"] == {"same labels as the bare loop": True}
    assert seen["predict-start"]["conditions"]["neither TensorFlow nor Keras loaded"]


@pytest.mark.slow
def test_device_is_measured(tmp_path: Path) -> None:
    """On whatever is here; the chosen network and precision alone."""
    out = tmp_path / "gpu.json"
    chosen = ["--small", "--network", "mobilenetv2", "--precision", "bfloat16", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.gpu", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["network"], row["precision"], row["to_float32"]) == ("mobilenetv2 0.35/32", "bfloat16", None)
    assert row["tledge_to_plain"] == row["tledge"] / row["plain"]
    assert row["idle_tledge"] == max(0, 1 - row["tledge"] / row["resident"])
    assert f"{row['tledge']:.1f}" in done.stdout


def test_searches_run_on_drawn_images(tmp_path: Path) -> None:
    """Scenes differ, a fixed camera's are near each other, and every search runs on both."""
    images = {
        fixed: np.load(drawn_images.write(tmp_path / f"{fixed}.npy", 12, fixed_camera=fixed))
        for fixed in (True, False)
    }
    between = {fixed: float(np.diff(taken.astype(float), axis=0).std()) for fixed, taken in images.items()}
    assert between[True] * 3 < between[False] and images[True].shape == (12, 32, 32, 3)
    for stage in scaling.SEARCHES:
        photos = tmp_path / f"{stage.endswith('fixed camera')}.npy"
        scaling.STAGES[stage](tmp_path, photos, drawn_images.SIDE)
