"""The tables of the command line."""

from __future__ import annotations

from dataclasses import replace

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


def verdicts() -> ParityReport:
    """A verdict of each kind, with the longest names and figures that there are."""
    rows = []
    for variant, verdict in zip(
        ("saved_model", "tflite-dynamic", "tflite-int16x8", "onnx-int8"),
        ("passed", "failed", "undecided", "skipped"),
        strict=True,
    ):
        plain = {"accuracy": 0.9, "agreement": 0.95, "max_abs_dp": 0.3}
        rows.append(
            replace(
                row(variant, 0.9), verdict=verdict, accuracy=0.876, accuracy_change=-0.1244, agreement=0.9998,
                bytes=987 << 10, change_low=-0.2, change_high=-0.05, max_abs_dp=0.31,
                without_bias_correction=plain if verdict == "undecided" else None, kernels="tensorflow-cpu",
            )
        )  # fmt: skip
    marked = replace(rows[2], variant="tflite-fp16", provisional=True, independent_images=1930)
    return ParityReport(False, Reference(1.0, 300), (*rows, marked))


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("wide", [False, True])
def test_verdicts_fit_the_window(width: int, wide: bool) -> None:
    from rich.console import Console

    console = Console(width=width)
    with console.capture() as shown:
        table, hidden = tables.parity_table(verdicts(), console, wide)
        console.print(table)
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= width and "…\n" not in shown.get() and "… " not in shown.get()
    assert hidden == {
        (60, False): ("size", "images"),
        (60, True): ("kernels", "max Δp", "images", "change (95 %)", "size"),
        (80, True): ("kernels", "max Δp", "images"),
    }.get((width, wide), ())  # fmt: skip
    assert all(f"{sign} {verdict}" in shown.get() for verdict, sign in tables.SIGNS.items())
    assert "? provisional" in shown.get()
    assert ("images" in shown.get()) is ("1930" in shown.get()) is ("images" not in hidden)
    assert "87.6%" in shown.get() and "-12.4 pp" in shown.get() and "99.9%" in shown.get()
    assert ("tensorflow-cpu" in shown.get()) is ("3.1e-01" in shown.get()) is (wide and width == 120)
