"""`tledge list`: recipes, variants, projects, and runs with their verdicts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.reports import change, with_report
from tledge.cli.console import open_console


@pytest.fixture(scope="module")
def made(shared_report_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that a report shows, and the report; do not change it."""
    pytest.importorskip("jinja2")
    return with_report(shared_report_run, tmp_path_factory.mktemp("report") / "tiny")


def listed(cli: Cli) -> dict[str, Any]:
    return dict(json.loads(cli("list", "runs", "--json").out))


def test_runs_are_listed_with_their_verdicts(
    made: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, "runs/whole")
    shutil.copytree(made, "runs/broken")
    Path("runs/broken/parity.json").write_text("{")
    Path("runs/half").mkdir()
    Path("runs/half/recipe.toml").write_text("")
    change(Path("runs/whole/parity.json"), lambda raw: raw["rows"][1].update(verdict="failed"))
    found = listed(cli)
    assert {Path(path).name: one["state"] for path, one in found.items()} == {
        "whole": "exported", "broken": "damaged", "half": "unfinished"
    }  # fmt: skip
    whole = found["runs/whole"]
    assert whole["verdicts"] == {"tflite-fp32": "passed", "onnx-fp32": "failed"}
    assert whole["test"]["accuracy"] == json.loads((made / "run.json").read_text())["test"]["accuracy"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", whole["when"])
    shown = cli("list", "runs").out
    assert "passed: tflite-fp32; failed: onnx-fp32" in shown and "parity.json" in shown
    assert shown.splitlines()[0].split() == ["run", "when", "state", "test", "accuracy", "verdicts"]


@pytest.mark.parametrize("what", ["recipes", "keys", "variants", "backbones", "sources"])
def test_lists_are_filled(cli: Cli, what: str) -> None:
    done = cli("list", what)
    listed = json.loads(cli("list", what, "--json").out)
    assert done.code == 0 and len(listed) >= 2
    assert all(name in done.out for name in listed)


def test_list_of_no_runs(cli: Cli) -> None:
    assert json.loads(cli("list", "runs", "--json").out) == {}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_keys_fit_the_window(cli: Cli, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("tledge.cli.console.result_console", lambda: open_console(width=width))
    lines = cli("list", "keys").out.splitlines()
    assert max(map(len, lines)) <= width
    assert "stage.0.epochs = 5" in lines
    assert "    whole number, 0 to 100000: number of passes over the" in "\n".join(lines)
    assert "export.int8.repair = false" in lines
