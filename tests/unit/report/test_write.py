"""The report of a run: every figure is that of its files, nothing is asked for from elsewhere."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_report import Page, contradictions
from tests.helpers.report_texts import rewritten
from tests.helpers.reports import change
from tledge.errors import MissingError
from tledge.report import write
from tledge.run.folder import RunFolder

pytest.importorskip("jinja2")


def test_every_figure_is_that_of_the_files(made: Path, page: Page) -> None:
    assert contradictions(made) == []
    assert len(page.figures) > 80


@pytest.mark.parametrize(
    ("file", "edit", "name"),
    [
        ("parity.json", lambda raw: raw["rows"][0].update(accuracy=0.5), "parity.tflite-fp32.accuracy"),
        ("parity.json", lambda raw: raw["rows"][1].update(lost=9), "parity.onnx-fp32.lost"),
        ("parity.json", lambda raw: raw["reference"].update(ece=0.5), "parity.reference.ece"),
        ("run.json", lambda raw: raw["test"].update(accuracy=0.1), "run.test.accuracy"),
        (
            "evidence/photos.json",
            lambda raw: raw["counts"]["test"].update(cat=99),
            "photos.counts.test.cat",
        ),
    ],
)
def test_changed_file_contradicts_the_page(own: Path, file: str, edit: Any, name: str) -> None:
    change(own / file, edit)
    assert any(line.startswith(f"{name}:") for line in contradictions(own))


def test_changed_text_contradicts_its_value(own: Path) -> None:
    path = own / "report.html"
    text = path.read_text()
    found = re.search(r'data-fact="run.test.accuracy">\d\d\.\d%<', text)
    assert found
    path.write_text(text.replace(found[0], 'data-fact="run.test.accuracy">12.3%<'))
    assert [line for line in contradictions(own) if "reads 12.3%" in line]


def test_page_says_what_a_person_asks(page: Page) -> None:
    for words in (
        "All 2 artifacts passed.",
        "The lowest agreement with the Keras model is 98.5%",
        "CC BY 2.0",
        "head", "all of it",
        "3 of 200 predictions differ from Keras",
        "tledge export run --repair",
        "the 2 costliest of 2 layers",
        "tledge train recipe.toml --set stage.0.epochs=2 --out runs/tiny",
        "tledge export runs/tiny --variant onnx-fp32",
        "keras", "3.15.1",
        'description = "cats, dogs and owls"',
    ):  # fmt: skip
        assert words in page.text, words


def test_same_run_same_bytes(made: Path, own: Path) -> None:
    rewritten(own)
    for name in ("report.html", "report.md"):
        assert (own / name).read_bytes() == (made / name).read_bytes()


def test_run_of_an_earlier_version(own: Path) -> None:
    """Without what training keeps today, and without a history."""
    for name in ("evidence/photos.json", "evidence/photos.npz", "history.csv", "recipe.toml", "bench.json"):
        (own / name).unlink()
    found = rewritten(own)
    assert (
        "The run recorded nothing else about its photos" in found.text and "recorded no history" in found.text
    )
    assert found.series == {} and "All 2 artifacts passed." in found.text


def without_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)


def test_report_without_jinja_is_five(own: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    without_jinja(monkeypatch)
    before = (own / "report.html").read_bytes()
    done = cli("report", own)
    assert done.code == 5 and "jinja2 is not installed" in done.err and "pip install" in done.err
    assert (own / "report.html").read_bytes() == before
    with pytest.raises(MissingError):
        write.write(RunFolder(own))


@pytest.mark.parametrize("asked", [(), ("--json",)])
def test_verify_without_jinja_says_so_and_goes_on(
    own: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    from tledge.verification import parity

    monkeypatch.setattr(parity, "structural_reasons", lambda *_rest: [])
    recipe = own / "recipe.toml"
    recipe.write_text(recipe.read_text() + "[parity]\nfloat_agreement = 0.9\nfloat_max_dp = 1\n")
    without_jinja(monkeypatch)
    change(own / "parity.json", lambda raw: raw["rows"].clear())
    done = cli("verify", own, "--quiet", *asked)
    (line,) = [line for line in done.err.splitlines() if "jinja2" in line]
    assert line.startswith("No report: jinja2 is not installed")
    assert len(json.loads((own / "parity.json").read_text())["rows"]) == 2
    assert done.code in (0, 3)


def test_verify_writes_the_report_anew(own: Path, cli: Cli) -> None:
    change(own / "parity.json", lambda raw: raw["rows"].clear())
    done = cli("verify", own, "--quiet")
    assert done.code in (3, 4)  # the tiny files hold no labels
    assert f"Report: {own / 'report.html'}" in done.out
    assert contradictions(own) == [] and len(Page((own / "report.html").read_text()).verdicts) == 2


def test_unfinished_run_has_no_report(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "half").mkdir()
    done = cli("report", tmp_path / "half")
    assert done.code == 1 and "tledge train" in done.err
