"""The report of an export, also of one that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_report import Page, contradictions

pytest.importorskip("jinja2")


def test_export_wrote_the_report(small_run: Path) -> None:
    page = Page((small_run / "report.html").read_text(encoding="utf-8"))
    assert contradictions(small_run) == []
    variants = ("saved_model", "tflite-fp32", "tflite-int8", "onnx-fp32")
    assert page.verdicts == dict.fromkeys(variants, "passed")
    assert "synthetic" in page.text and "Calibration ranges were measured on" in page.text
    stated = {name for name, _value, _text in page.figures}
    assert "parity.tflite-int8.without_bias_correction.accuracy" in stated
    assert "tledge export runs/small --int8" in page.text
    for name in ("curves.png", "confusion.png", "evidence/photos.png"):
        assert f"({name})" in (small_run / "report.md").read_text()
        assert (small_run / name).is_file()


def test_failed_export_still_writes_the_report(own_run: Path, cli: Cli) -> None:
    recipe = own_run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("int8_agreement = 0.9", "int8_agreement = 1.0"))
    (own_run / "report.html").unlink()
    done = cli("export", own_run, "--int8", "--quiet")
    assert done.code == 3 and f"Report: {own_run / 'report.html'}" in done.out
    assert Page((own_run / "report.html").read_text()).verdicts["tflite-int8"] == "failed"
