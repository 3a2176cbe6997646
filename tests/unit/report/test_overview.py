"""The top of a report: what was trained, what passed, and what to do first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.report_texts import rewritten
from tests.helpers.reports import change
from tests.helpers.run_records import RUN
from tledge.bundle.run_summary import Summary
from tledge.report import overview
from tledge.run.records import ParityReport, ParityRow, Reference

pytest.importorskip("jinja2")


def steps(*rows: ParityRow) -> str:
    parity = ParityReport(False, Reference(0.9, 36), rows) if rows else None
    return " ".join(
        f"{one.sentence} {one.command}" for one in overview._steps(Summary(RUN, parity=parity), None)
    )


def row(variant: str, verdict: str, needed: int | None = None, *, provisional: bool = False) -> ParityRow:
    return ParityRow(variant, "", "", 1, verdict, images_needed=needed, provisional=provisional)


def test_date_is_that_of_the_run(own: Path) -> None:
    assert "not recorded" in rewritten(own).text
    change(own / "run.json", lambda raw: raw.update(trained_on="2026-03-01"))
    assert "2026-03-01" in rewritten(own).text and "2026-03-01" in (own / "report.md").read_text()


def test_first_step_fits_to_what_happened() -> None:
    assert steps().startswith("Convert the model") and "tledge export" in steps()
    assert "--repair" in steps(row("tflite-int8", "failed"))
    assert "--repair" not in steps(row("tflite-fp32", "failed"), row("tflite-int8", "undecided", 50))
    few = steps(row("tflite-int8", "undecided", 2 * RUN.test.images), row("tflite-fp32", "passed"))
    assert f"need {2 * RUN.test.images} test photos, this run has {RUN.test.images}" in few
    assert few.startswith("Add photos with labels") and "tledge preview" in few


def test_photos_without_labels_come_before_photos_with_labels() -> None:
    given = replace(row("tflite-int8", "undecided", 100, provisional=True), independent_images=63)
    text = steps(replace(given, independent_needed=110))
    assert text.startswith("Verify on 47 or more further photos, which need no labels:")
    assert "--photos FOLDER" in text and "Or add photos with labels" in text
    assert "--photos" not in steps(given)


def test_adopted_model_is_named_as_such(own: Path) -> None:
    origin = {"file": "old.h5", "sha256": "0", "framework": "Keras 2", "version": "", "scaling": "0..255"}
    origin |= {"scaling_from": "given", "labels_from": "file", "changes": []}
    change(own / "run.json", lambda raw: raw.update(origin=origin))
    text = rewritten(own).text
    assert (
        "elsewhere, adopted by tledge" in text and "old.h5, Keras 2" in text and "Training took" not in text
    )


def test_provisional_artifact_is_shown_with_its_figures(own: Path) -> None:
    def provisional(raw: dict[str, object]) -> None:
        rows = raw["rows"]
        assert isinstance(rows, list)
        rows[0].update(
            verdict="undecided", provisional=True, independent_images=63, independent_agreement=0.984
        )

    change(own / "parity.json", provisional)
    text = rewritten(own).text
    assert "bundled as provisional: agrees on 98.4% of 63 images" in text and "? provisional" in text
    assert "undecided (provisional)" in (own / "report.md").read_text()


def test_files_that_were_passed_over_are_shown(own: Path) -> None:
    group = {"count": 4, "examples": [".DS_Store", "a/<b>.jpg"]}
    change(own / "evidence" / "photos.json", lambda raw: raw.update(left_out={"hidden": group}))
    assert "left out, hidden: 4 (.DS_Store, a/<b>.jpg, …)" in rewritten(own).text
    assert "left out, hidden: 4" in (own / "report.md").read_text()
