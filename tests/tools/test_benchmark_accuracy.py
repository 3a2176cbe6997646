"""The table of accuracies: what it reads from a run, its intervals, and what it does with failed verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.processes import BenchmarkError
from benchmarks.workspace import Workspace

TEST = {"images": 200, "accuracy": 0.875, "low": 0.822, "high": 0.914}


class FakeWorkspace(Workspace):
    """Writes what training and export leave behind, without either."""

    verdict = "passed"

    def tledge(self, *arguments: object) -> None:
        command, run = (
            arguments[0],
            Path(str(arguments[arguments.index("--out") + 1 if "--out" in arguments else 1])),
        )
        if command == "train":
            run.mkdir(parents=True)
            (run / "run.json").write_text(json.dumps({"test": TEST}))
        elif command == "export" and self.verdict != "none":
            row = {
                "variant": "tflite-int8", "agreement": 0.99, "bytes": 635904, "verdict": self.verdict,
                "without_bias_correction": {"agreement": 0.955},
            }  # fmt: skip
            (run / "parity.json").write_text(json.dumps({"rows": [{"variant": "saved_model"}, row]}))
        if self.verdict != "passed" and command == "export":
            raise BenchmarkError("export ended with 3")


def test_row_of_one_seed(tmp_path: Path) -> None:
    result = accuracy.measure(FakeWorkspace(tmp_path, None), "mine.toml", "mine", 1)
    assert accuracy.line(result) == (
        "| mine | 1 | 200 | 0.875 (0.822 to 0.914) | 0.9900 | 0.9550 | 621 KiB |"
    )


def test_failed_verdict_is_a_figure(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path, None)
    object.__setattr__(workspace, "verdict", "failed")
    assert "0.9900 (failed)" in accuracy.line(accuracy.measure(workspace, "mine.toml", "mine", 0))


def test_failed_export_without_verdicts_is_an_error(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path, None)
    object.__setattr__(workspace, "verdict", "none")
    with pytest.raises(BenchmarkError, match="ended with 3"):
        accuracy.measure(workspace, "mine.toml", "mine", 0)


def test_summary_gives_the_range_over_seeds() -> None:
    results = [
        accuracy.SeedResult("rps", seed, 372, value, 0.9, 1.0, 0.99, 0.95, 1024, "passed")
        for seed, value in enumerate((0.97, 0.995, 0.957))
    ]
    assert "| 3 seeds | 372 | 0.974 (0.957 to 0.995) | 0.9900 (0.9900 to 0.9900)" in accuracy.summary(results)


def test_recipe_of_a_folder_of_photos(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path, None)
    assert accuracy.recipe_of(workspace, "rps") == ("rps", "rps")
    path, name = accuracy.recipe_of(workspace, f"init:{tmp_path}/flowers")
    assert (Path(path).name, name) == ("flowers.toml", "init flowers")
