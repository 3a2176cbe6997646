"""The last lines of an export: what the bundle holds, what it lacks and why, and the next command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.doubt import row
from tledge.cli import verdicts
from tledge.run.records import ParityReport, Reference


def report(**by_variant: str) -> ParityReport:
    rows = tuple(
        replace(row(name.replace("_", "-"), 0.9), verdict=verdict, reasons=("agrees on 90.0%.", "And more."))
        for name, verdict in by_variant.items()
    )
    return ParityReport(all(one.verdict == "passed" for one in rows), Reference(0.9, 300), rows)


def test_each_artifact_left_out_has_one_sentence() -> None:
    found = report(tflite_fp32="passed", tflite_int8="undecided", onnx_int8="failed")
    assert verdicts.left_out(("tflite-fp32",), found) == [
        "Not in the bundle: tflite-int8 (undecided): agrees on 90.0%.",
        "Not in the bundle: onnx-int8 (failed): agrees on 90.0%.",
    ]
    assert verdicts.left_out(("tflite-fp32", "tflite-int8", "onnx-int8"), found) == []


def test_what_is_provisional_says_on_which_figures_and_what_settles_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = report(tflite_fp32="passed", tflite_int8="undecided")
    marked = replace(
        found.rows[1], provisional=True, images=36, images_needed=100, independent_images=36,
        independent_agreement=1.0, independent_low=0.9036, independent_high=1.0, accuracy_change=0.0,
    )  # fmt: skip
    found = replace(found, rows=(found.rows[0], marked))
    variants = ("tflite-fp32", "tflite-int8")
    run = Path("runs/mine")
    assert verdicts.provisional(variants, found, run) == [
        "Provisional: tflite-int8 agrees with Keras on 100.0% of 36 independent images (95% interval 90.4% "
        "to 100.0%, accuracy change +0.0 pp), which is too few to confirm it. 64 more test images would "
        "settle it."
    ]
    assert verdicts.provisional(("tflite-fp32",), found, run) == []
    known = replace(found, rows=(replace(marked, independent_needed=149),))
    assert verdicts.provisional(variants, known, run)[0].endswith(
        "113 more photos would settle it, without labels: tledge export runs/mine --photos DIR; or 64 more "
        "test images."
    )
    verdicts.show_provisional(found, run)
    assert capsys.readouterr().out == verdicts.provisional(variants, found, run)[0] + "\n"
    assert verdicts._marked(variants, found) == ["tflite-fp32", "tflite-int8 (provisional)"]


@pytest.mark.parametrize(
    ("verdict", "bundled", "command"),
    [
        ("failed", True, "tledge export run --repair"),
        ("failed", False, "tledge export run --repair"),
        ("undecided", True, "tledge predict run/bundle PHOTO.jpg"),
        ("undecided", False, "tledge inspect run"),
        ("passed", True, "tledge predict run/bundle PHOTO.jpg"),
    ],
)
def test_next_command(verdict: str, bundled: bool, command: str) -> None:
    place = Path("run/bundle") if bundled else None
    assert verdicts.next_step(Path("run"), place, report(tflite_int8=verdict)) == command
