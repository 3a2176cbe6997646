"""The report of a run: every figure is that of its files, nothing is asked for from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_report
from tests.helpers.command_line import Cli
from tests.helpers.fake_report import LABELS, Page, contradictions
from tests.helpers.reports import change, with_report
from tledge import golden, report, runs
from tledge.errors import MissingError, RunError
from tledge.report import facts
from tledge.runs import ParityReport, ParityRow, Reference, RunFolder
from tledge.tables import Parity

pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def made(shared_report_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that a report shows, and the report; do not change it."""
    return with_report(shared_report_run, tmp_path_factory.mktemp("report") / "tiny")


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def page(made: Path) -> Page:
    return Page((made / "report.html").read_text(encoding="utf-8"))


def rewritten(path: Path) -> Page:
    return Page(report.write(RunFolder(path)).html.read_text(encoding="utf-8"))


def test_every_figure_is_that_of_the_files(made: Path, page: Page) -> None:
    assert contradictions(made) == []
    assert len(page.figures) > 80


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
    found = re.search(r'data-fact="run.test.accuracy">0\.\d{4}<', text)
    assert found
    path.write_text(text.replace(found[0], 'data-fact="run.test.accuracy">0.9999<'))
    assert [line for line in contradictions(own) if "reads 0.9999" in line]


def test_curves_are_the_history(page: Page) -> None:
    columns = list(zip(*fake_report.HISTORY, strict=True))
    assert page.series == {
        "Loss/train": list(columns[2]),
        "Accuracy/train": list(columns[3]),
        "Loss/validation": list(columns[4]),
        "Accuracy/validation": list(columns[5]),
    }


def test_reliability_is_that_of_the_golden_set(made: Path, page: Page) -> None:
    kept = golden.load(made / "golden.npz")
    sure, right = kept.probabilities.max(1), kept.probabilities.argmax(1) == kept.labels
    assert sum(images for images, _accuracy, _confidence in page.bins) == len(sure) == 200
    images, accuracy, confidence = page.bins[-1]
    top = sure > 14 / 15
    assert (images, accuracy) == (top.sum(), pytest.approx(right[top].mean()))
    assert confidence == pytest.approx(sure[top].mean(), abs=1e-6)


def test_nothing_is_asked_for_from_elsewhere(made: Path, page: Page) -> None:
    allowed = re.compile(r"#[\w-]+|data:image/(jpeg|png);base64,[\w+/=]+")
    for _tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert allowed.fullmatch(attributes.get(name, "#none")), attributes
    text = (made / "report.html").read_text()
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)
    assert "default-src 'none'" in text


def test_every_picture_has_words(page: Page) -> None:
    assert len(page.named("img")) == 29 + 2 * 3
    assert all(one["alt"].strip() for one in page.named("img"))
    charts = page.named("svg")
    assert len(charts) == 3 and all(one["role"] == "img" and one["aria-label"] for one in charts)
    assert "train from 1.1000 to 0.2000" in charts[0]["aria-label"]


def test_links_and_headings_meet(page: Page) -> None:
    targets = {one["id"] for _tag, one in page.tags if "id" in one}
    linked = {one["href"].removeprefix("#") for one in page.named("a")}
    assert linked <= targets
    assert linked == {
        "data", "training", "answers", "artifacts", "flips", "quantization", "environment", "again"
    }  # fmt: skip
    assert len(page.named("h1")) == 1


def test_page_says_what_a_person_asks(page: Page) -> None:
    for words in (
        "All 2 artifacts passed.",
        "The least agreement with the Keras model is 0.9850",
        "CC BY 2.0",
        "head", "all of it",
        "3 of 200 answers are not Keras'",
        "tledge export run --repair",
        "the costliest 2 of 2 layers",
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
    assert "the costliest 2 of 2 layers" in rewritten(own).text
    (own / "evidence" / "culprits.json").unlink()
    assert "costliest" not in rewritten(own).text


def test_failed_artifact_comes_first_with_its_reason(own: Path) -> None:
    fake_report.verify(RunFolder(own), Parity(float_agreement=0.999, float_max_dp=1e9))
    found = rewritten(own)
    assert "2 of 2 artifacts did not pass: tflite-fp32, onnx-fp32." in found.text
    assert set(found.verdicts.values()) == {"failed"}
    assert found.text.index("agreement 0.9850") < found.text.index("Photos by class")
    assert contradictions(own) == []


def test_after_training_alone(tmp_path: Path) -> None:
    path = fake_report.run(tmp_path / "tiny", exported=False)
    found = rewritten(path)
    assert "Nothing is exported yet." in found.text and "Keras against every artifact" not in found.text
    assert contradictions(path) == [] and found.verdicts == {}
    assert report.write(RunFolder(path)).verdict == "trained"


def test_run_below_its_expectation_says_so(tmp_path: Path) -> None:
    path = fake_report.run(tmp_path / "tiny", exported=False)
    change(path / "run.json", lambda raw: raw.update(expected=0.99))
    assert "below the recipe's own expectation of 0.9900" in rewritten(path).text


def test_run_of_an_earlier_version(own: Path) -> None:
    """Without what training keeps today, and without a history."""
    for name in ("evidence/photos.json", "evidence/photos.npz", "history.csv", "recipe.toml", "bench.json"):
        (own / name).unlink()
    found = rewritten(own)
    assert "The run kept no more about its photos" in found.text and "kept no history" in found.text
    assert found.series == {} and "All 2 artifacts passed." in found.text


def test_names_are_text_and_not_markup(own: Path) -> None:
    evil = "<script>alert(1)</script>|`*"
    change(own / "run.json", lambda raw: raw.update(description=evil, labels=["cat", "dog", evil]))
    page = rewritten(own)
    assert evil in page.text and page.named("script") == []
    text = (own / "report.md").read_text()
    assert "<script>" not in text and "\\<script\\>alert(1)\\</script\\>\\|\\`\\*" in text


def test_many_classes_make_a_heat_map(own: Path) -> None:
    names = [f"breed {number}" for number in range(30)]
    kept = golden.load(own / "golden.npz")
    shares = np.full((200, 30), 0.01, np.float32)
    shares[np.arange(200), np.arange(200) % 29] = 0.71
    labels = np.arange(200) % 30
    golden.save(own / "golden.npz", golden.Golden(kept.images, labels, shares, kept.ids, {}))
    change(own / "run.json", lambda raw: raw.update(labels=names))
    (own / "parity.json").unlink()
    found = rewritten(own)
    (heat,) = [one for one in found.named("img") if one.get("class") == "heat"]
    assert heat["src"].startswith("data:image/png") and "30 classes" in heat["alt"]
    assert "answered as breed" in found.text
    assert contradictions(own) == []
    assert [text for name, _value, text in found.figures if name == "answers.class.breed 29.precision"] == []


DAMAGED = ("parity.json", "golden.npz", "history.csv", "evidence/photos.npz", "bench.json")


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_named(own: Path, name: str) -> None:
    (own / name).write_text("stage,epoch\nhead,x\n")
    with pytest.raises(RunError, match=re.escape(name)):
        report.write(RunFolder(own))


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """Tables by their first two header cells; cells without the escapes."""
    tables: dict[str, list[list[str]]] = {}
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
        rows = [
            [cell.replace("\\", "").strip() for cell in line.strip("|").split(" | ")]
            for line in block.rstrip("\n").split("\n")
        ]
        tables[" ".join(rows[0][:2])] = [rows[0], *rows[2:]]
    return tables


def test_markdown_says_the_same(made: Path) -> None:
    text = (made / "report.md").read_text(encoding="utf-8")
    tables = markdown_tables(text)
    rows = {row[0]: row for row in tables["artifact verdict"]}
    for row in json.loads((made / "parity.json").read_text())["rows"]:
        shown = rows[row["variant"]]
        assert shown[1:3] == [row["verdict"], f"{row['accuracy']:.4f}"]
        assert shown[5:7] == [f"{row['agreement']:.4f}", f"{row['bytes'] / 1024:.0f}"]
    expected = fake_report.known(made)
    for label in LABELS:
        (found,) = [row for row in tables["class test images"] if row[0] == label]
        assert found[2] == f"{expected[f'answers.class.{label}.recall']:.4f}"
        (counts,) = [row for row in tables["label cat"] if row[0] == label]
        assert [float(one) for one in counts[1:]] == [
            expected[f"answers.counts.{label}.{other}"] for other in LABELS
        ]
    assert "\n\n\n" not in text and text.startswith("# tiny 1: passed\n")


def test_markdown_names_pictures_that_are_there(made: Path) -> None:
    named = re.findall(r"!\[.+?\]\((\S+)\)", (made / "report.md").read_text())
    assert "evidence/photos.png" in named and "evidence/tflite-fp32-flips.png" in named
    assert [name for name in named if not (made / name).is_file()] == []


def verdict(*rows: ParityRow) -> facts.Verdict:
    return facts._of_parity(ParityReport(False, Reference(0.9, 40), rows))


def row(variant: str, verdict: str, agreement: float | None = None) -> ParityRow:
    reasons = () if verdict == "passed" else (f"{variant} is {verdict}",)
    return ParityRow(variant, "", "", 1, verdict, agreement=agreement, reasons=reasons)


def test_verdict_in_words() -> None:
    passed, other = row("a", "passed", 1.0), row("b", "passed", 0.98)
    assert verdict(passed).detail == "Every answer is the Keras model's."
    assert verdict(passed).sentence == "All 1 artifact passed."
    assert verdict(passed, other).detail.endswith("is 0.9800, of b.")
    found = verdict(passed, row("c", "skipped"))
    assert (found.kind, found.sentence) == ("passed", "1 of 2 artifacts passed, the others were skipped.")
    assert verdict(row("c", "skipped")).kind == "undecided"
    found = verdict(passed, row("d", "undecided"), row("e", "failed"))
    assert (found.kind, found.reasons) == ("failed", (("d", "d is undecided"), ("e", "e is failed")))
    assert verdict(passed, row("d", "undecided")).word == "Undecided"


def test_command_names_both_files(own: Path, cli: Cli) -> None:
    (own / "report.html").unlink()
    done = cli("report", own)
    assert done.code == 0 and (own / "report.html").is_file()
    assert done.out.splitlines() == [
        f"Report: {own / 'report.html'}", f"  Text: {own / 'report.md'}", f"Next: tledge bundle {own}"
    ]  # fmt: skip
    found = json.loads(cli("report", own, "--json").out)
    assert found == {"html": str(own / "report.html"), "text": str(own / "report.md"), "verdict": "passed"}


def without_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)


def test_report_without_jinja_is_five(own: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    without_jinja(monkeypatch)
    before = (own / "report.html").read_bytes()
    done = cli("report", own)
    assert done.code == 5 and "jinja2 is not installed" in done.err and "pip install" in done.err
    assert (own / "report.html").read_bytes() == before
    with pytest.raises(MissingError):
        report.write(RunFolder(own))


@pytest.mark.parametrize("asked", [(), ("--json",)])
def test_verify_without_jinja_says_so_and_goes_on(
    own: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    from tledge import parity

    monkeypatch.setattr(parity, "inspected", lambda *_rest: [])
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


def test_run_keeps_small_photos(made: Path) -> None:
    with np.load(made / "evidence" / "photos.npz") as packed:
        assert packed["images"].shape == (29, 32, 32, 3) and packed["images"].dtype == np.uint8
        assert list(packed["splits"]) == ["train"] * 10 + ["validation"] * 9 + ["test"] * 10
        assert set(packed["labels"]) == set(LABELS)
    facts = runs.read_json(made / "evidence" / "photos.json", "photos", "")
    assert facts["counts"]["test"] == {"cat": 6, "dog": 6, "owl": 6} and "problems" in facts


def test_remarks_stand_in_both_reports(tmp_path: Path) -> None:
    path = fake_report.run(tmp_path / "tiny", exported=False)
    change(path / "run.json", lambda raw: raw.update(remarks=["it answers <cat> to every test photo"]))
    assert "it answers <cat> to every test photo" in rewritten(path).text
    assert "every test photo" in (path / "report.md").read_text()
