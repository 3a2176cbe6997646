"""What the report says of the training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers import fake_report
from tests.helpers.fake_report import Page, contradictions
from tests.helpers.recipes import drawn, tiny_recipe
from tests.helpers.report_texts import rewritten
from tests.helpers.reports import change
from tledge.recipe.loader import parse
from tledge.report import training, write
from tledge.run.folder import RunFolder

pytest.importorskip("jinja2")


def test_curves_are_the_history(page: Page) -> None:
    columns = list(zip(*fake_report.HISTORY, strict=True))
    assert page.series == {
        "Loss/train": list(columns[2]),
        "Accuracy/train": list(columns[3]),
        "Loss/validation": list(columns[4]),
        "Accuracy/validation": list(columns[5]),
    }


def test_after_training_alone(tmp_path: Path) -> None:
    path = fake_report.run(tmp_path / "tiny", exported=False)
    found = rewritten(path)
    assert "Nothing is exported yet." in found.text and "Keras and every artifact" not in found.text
    assert contradictions(path) == [] and found.verdicts == {}
    assert write.write(RunFolder(path)).verdict == "trained"


def test_run_below_its_expectation_says_so(tmp_path: Path) -> None:
    path = fake_report.run(tmp_path / "tiny", exported=False)
    change(path / "run.json", lambda raw: raw.update(expected=0.99))
    assert "below the recipe's own expectation of 99.0%" in rewritten(path).text


def test_remarks_stand_in_both_reports(tmp_path: Path) -> None:
    path = fake_report.run(tmp_path / "tiny", exported=False)
    change(path / "run.json", lambda raw: raw.update(remarks=["it answers <cat> to every test photo"]))
    assert "it answers <cat> to every test photo" in rewritten(path).text
    assert "every test photo" in (path / "report.md").read_text()


@pytest.mark.parametrize("name", ["stage.0", "stage 1"])
def test_unnamed_stage_is_known_by_its_number(name: str) -> None:
    """Earlier versions counted from one."""
    summary: Any = SimpleNamespace(recipe=parse(tiny_recipe(drawn(24, 9), "epochs = 2"), "tiny.toml"))
    rows: list[Any] = [{"stage": name, "epoch": 1.0, "seconds": 1.0}]
    (line,) = training._stages(rows, summary)
    assert line.config == summary.recipe.stage[0] and summary.recipe.stage[0].name == "stage.0"
