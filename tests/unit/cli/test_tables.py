"""The tables of the command line."""

from __future__ import annotations

import pytest

from tests.helpers.doubt import row
from tests.helpers.repair_trials import candidates, stand_in
from tledge.cli import tables
from tledge.cli.tables import repair_table
from tledge.quantization.repair import SelectionSet, search_repairs
from tledge.run.records import ParityReport, Reference


def test_verify_says_what_is_answered() -> None:
    rows = row("tflite-int8", 0.85, "answers 85.0% of the photos"), row("onnx-fp32", 0.95)
    report = ParityReport(True, Reference(0.9, 300, coverage=0.95, answered_error=0.01), rows)
    assert tables.reasons(report) == [
        "tflite-int8: answers 85.0% of the photos",
        "Coverage at the confidence threshold: Keras 95.0% (selective error 1.0%); "
        "tflite-int8 85.0% (selective error 2.0%); onnx-fp32 95.0% (selective error 2.0%).",
    ]


def test_verify_of_earlier_run_says_nothing() -> None:
    assert tables.reasons(ParityReport(True, Reference(0.9, 300), (row("onnx-fp32", None),))) == []


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> SelectionSet:
    """Candidates whose data is the number of their wrong predictions."""
    return stand_in(monkeypatch)


def test_table_marks_what_nothing_beats(faked: SelectionSet) -> None:
    from dataclasses import asdict

    from rich.console import Console

    _made, tried, _taken = search_repairs(candidates(40, 20, 8), b"0", faked)
    rungs = [asdict(one) | {"bytes": size} for one, size in zip(tried, (10, 30, 20), strict=True)]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(repair_table("tflite-int8", rungs, "8 wrong"))
    lines = {line.split(" wrong")[0]: line for line in shown.get().splitlines() if " wrong" in line}
    assert all(word in shown.get() for word in ("change", "between", "gates", "failed"))
    assert "*" in lines["40"] and "*" not in lines["20"] and "* (chosen)" in lines["8"]
