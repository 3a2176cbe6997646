"""What the report takes from the files of a run, and its verdict."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers.fake_report import LABELS, Page
from tledge.errors import RunError
from tledge.report import facts, write
from tledge.run.folder import RunFolder
from tledge.run.records import ParityReport, ParityRow, Reference

pytest.importorskip("jinja2")


def test_every_figure_of_every_artifact_is_there(made: Path, page: Page) -> None:
    report_json = json.loads((made / "parity.json").read_text())
    stated = {name for name, _value, _text in page.figures}
    assert [row["variant"] for row in report_json["rows"]] == ["tflite-fp32", "onnx-fp32"]
    for row in report_json["rows"]:
        names = ["accuracy", "accuracy_change", "agreement", "bytes", "lost", "won", "moved", "ece"]
        names += ["mcnemar_p", "max_abs_dp"]
        assert {f"parity.{row['variant']}.{name}" for name in names} <= stated
    assert page.verdicts == {row["variant"]: row["verdict"] for row in report_json["rows"]}
    assert {f"answers.counts.{one}.{two}" for one in LABELS for two in LABELS} <= stated
    assert {f"answers.class.{one}.{two}" for one in LABELS for two in ("recall", "precision")} <= stated
    assert {f"photos.counts.{split}.{one}" for one in LABELS for split in ("train", "test")} <= stated


DAMAGED = ("parity.json", "golden.npz", "history.csv", "evidence/photos.npz", "bench.json")


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_named(own: Path, name: str) -> None:
    (own / name).write_text("stage,epoch\nhead,x\n")
    with pytest.raises(RunError, match=re.escape(name)):
        write.write(RunFolder(own))


def verdict(*rows: ParityRow) -> facts.Verdict:
    return facts._of_parity(ParityReport(False, Reference(0.9, 40), rows))


def row(variant: str, verdict: str, agreement: float | None = None) -> ParityRow:
    reasons = () if verdict == "passed" else (f"{variant} is {verdict}",)
    return ParityRow(variant, "", "", 1, verdict, agreement=agreement, reasons=reasons)


def test_verdict_in_words() -> None:
    passed, other = row("a", "passed", 1.0), row("b", "passed", 0.98)
    assert verdict(passed).detail == "All predictions match Keras."
    assert verdict(passed).sentence == "All 1 artifact passed."
    assert verdict(passed, other).detail.endswith("is 98.0%, of b.")
    found = verdict(passed, row("c", "skipped"))
    assert (found.kind, found.sentence) == ("passed", "1 of 2 artifacts passed, the others were skipped.")
    assert verdict(row("c", "skipped")).kind == "undecided"
    found = verdict(passed, row("d", "undecided"), row("e", "failed"))
    assert (found.kind, found.reasons) == ("failed", (("d", "d is undecided"), ("e", "e is failed")))
    assert verdict(passed, row("d", "undecided")).word == "Undecided"
