"""What the report says of artifacts: latency, layers, failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers import fake_report
from tests.helpers.command_line import Cli
from tests.helpers.fake_report import Page, contradictions
from tests.helpers.report_texts import rewritten
from tledge.config import Parity
from tledge.run.folder import RunFolder

pytest.importorskip("jinja2")


def test_latency_is_of_one_thread_and_these_kernels(page: Page) -> None:
    (stated,) = [(value, text) for name, value, text in page.figures if name == "bench.tflite-fp32"]
    assert stated == ("1.25", "1.25")
    assert "Measured on a processor" in page.text and "Something else ran" not in page.text


def test_busy_machine_is_told(own: Path) -> None:
    fake_report.add_bench(RunFolder(own), load=5.0)
    assert "Something else ran in the minute before (load average 5.0 on 2 cores)" in rewritten(own).text


def test_figures_of_other_files_are_left_out(own: Path) -> None:
    """Latency and layers that were measured before the artifact was made anew."""
    for name in ("bench.json", "evidence/quantization.json"):
        text = (own / name).read_text()
        (own / name).write_text(text.replace(fake_report.sha_of(RunFolder(own), "tflite-fp32"), "0" * 64))
    found = rewritten(own)
    assert not [name for name, _value, _text in found.figures if name.startswith("bench.")]
    assert "costliest" not in found.text and "Measured on" not in found.text


def test_layers_of_a_failed_export_are_told(own: Path) -> None:
    """Where nobody asked for all layers, those that the export named."""
    (own / "evidence" / "quantization.json").rename(own / "evidence" / "culprits.json")
    assert "the 2 costliest of 2 layers" in rewritten(own).text
    (own / "evidence" / "culprits.json").unlink()
    assert "costliest" not in rewritten(own).text


def test_failed_artifact_comes_first_with_its_reason(own: Path) -> None:
    fake_report.verify(RunFolder(own), Parity(float_agreement=0.999, float_max_dp=1e9))
    found = rewritten(own)
    assert "2 of 2 artifacts did not pass: tflite-fp32, onnx-fp32." in found.text
    assert set(found.verdicts.values()) == {"failed"}
    assert found.text.index("agrees with Keras on 197 of 200 images (98.5%)") < found.text.index(
        "Photos by class"
    )
    assert contradictions(own) == []


def test_command_names_both_files(own: Path, cli: Cli) -> None:
    (own / "report.html").unlink()
    done = cli("report", own)
    assert done.code == 0 and (own / "report.html").is_file()
    assert done.out.splitlines() == [
        f"Report: {own / 'report.html'}", f"  Text: {own / 'report.md'}", f"Next: tledge bundle {own}"
    ]  # fmt: skip
    found = json.loads(cli("report", own, "--json").out)
    assert found == {"html": str(own / "report.html"), "text": str(own / "report.md"), "verdict": "passed"}
