"""What the report says of the training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import fake_report
from tests.helpers.fake_report import Page, contradictions
from tests.helpers.report_texts import rewritten
from tests.helpers.reports import change
from tledge.report import write
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
