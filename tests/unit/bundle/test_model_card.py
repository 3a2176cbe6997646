"""`MODEL_CARD.md` of a bundle: measured figures, and marked gaps for what nobody measured."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tledge
from tests.helpers.fake_artifacts import run as bare_run
from tests.helpers.model_cards import rows_of
from tledge.bundle import build as stage
from tledge.bundle import model_card, run_summary
from tledge.bundle.reader import open_bundle
from tledge.bundle.run_summary import Summary
from tledge.errors import ArtifactError
from tledge.run.folder import RunFolder
from tledge.run.records import ParityRow
from tledge.visualization.text_format import percent

pytest.importorskip("jinja2")


@pytest.fixture
def own(shared_report_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_report_run, tmp_path / "tiny"))


def card_of(path: Path, edit: Callable[[Summary], Summary] = lambda known: known) -> str:
    known = edit(run_summary.read(RunFolder(path)))
    assert known.parity
    return model_card.text(known, known.parity.rows, "0.1.0")


def gaps(text: str) -> list[str]:
    return re.findall(r"^> \*\*Author:\*\* (.+)$", text, re.M)


def section(text: str, name: str) -> str:
    return text.split(f"\n## {name}\n")[1].split("\n## ", maxsplit=1)[0]


def test_bundle_holds_a_card_that_is_summed(own: Path) -> None:
    made = stage.bundle(RunFolder(own))
    sums = (made.folder / "SHA256SUMS").read_text()
    assert "  MODEL_CARD.md\n" in sums
    for path in (made.folder, made.zip):
        bundle = open_bundle(path)
        bundle.check_sums()
        assert bundle.files.read("MODEL_CARD.md").decode() == card_of(own)


def test_changed_card_is_noticed(own: Path) -> None:
    folder = stage.bundle(RunFolder(own)).folder
    path = folder / "MODEL_CARD.md"
    path.write_text(path.read_text().replace("passed", "Passed", 1))
    with pytest.raises(ArtifactError, match=r"MODEL_CARD\.md was changed"):
        open_bundle(folder).check_sums()


def test_same_run_same_card(own: Path) -> None:
    first = stage.bundle(RunFolder(own))
    assert stage.bundle(RunFolder(own)).sha256 == first.sha256


def test_figures_are_those_of_the_files(shared_report_run: Path) -> None:
    text = card_of(shared_report_run)
    rows = rows_of(text, "artifact")
    test = json.loads((shared_report_run / "run.json").read_text())["test"]
    assert rows["Keras model"][1] == percent(test["accuracy"])
    for row in json.loads((shared_report_run / "parity.json").read_text())["rows"]:
        kib, accuracy, interval, change, agreement, verdict = rows[row["variant"]]
        assert (kib, accuracy) == (f"{row['bytes'] / 1024:.0f}", percent(row["accuracy"]))
        assert change.startswith(f"{100 * row['accuracy_change']:+.1f} pp (")
        assert (agreement, verdict) == (percent(row["agreement"]), row["verdict"])
        low, high = map(float, interval.removesuffix("%").split("–"))
        assert low < 100 * row["accuracy"] < high
        file = rows_of(text, "file")[row["path"].rpartition("/")[2]]
        assert (file[0].replace(",", ""), file[2]) == (str(row["bytes"]), row["sha256"])


def test_date_is_that_of_the_training(shared_report_run: Path) -> None:
    def dated(known: Summary) -> Summary:
        return replace(known, run=replace(known.run, trained_on="2026-03-01"))

    assert "on 2026-03-01." in section(card_of(shared_report_run, dated), "Model")
    assert " on 20" not in section(card_of(shared_report_run), "Model")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/home/me/photos", "photos"),
        (r"C:\Users\me\photos", "photos"),
        ("~/photos", "photos"),
        ("a/photos", "a/photos"),
    ],
)
def test_card_names_no_path_of_the_machine(shared_report_run: Path, place: str, shown: str) -> None:
    def moved(known: Summary) -> Summary:
        assert known.recipe
        data = replace(known.recipe.data, source=f"folder:{place}")
        return replace(known, recipe=replace(known.recipe, data=data))

    text = card_of(shared_report_run, moved)
    assert f"Source: `folder:{shown}` (" in text and "home" not in text and "Users" not in text


def test_card_shows_how_to_use_the_model(shared_report_run: Path) -> None:
    use = section(card_of(shared_report_run), "How to use it")
    assert "tledge predict . photo.jpg" in use
    (code,) = re.findall(r"```python\n(.*?)```", use, re.S)
    compile(code, "card", "exec")
    assert {"load"} <= set(dir(tledge)) and 'tledge.load(".")' in code


def test_changed_figure_changes_the_card(own: Path) -> None:
    before = card_of(own)
    raw = json.loads((own / "parity.json").read_text())
    raw["rows"][0]["accuracy"] = 0.1234
    (own / "parity.json").write_text(json.dumps(raw))
    assert "12.3%" not in before and "12.3%" in card_of(own)


def test_card_tells_data_contract_and_versions(shared_report_run: Path) -> None:
    text = card_of(shared_report_run)
    assert rows_of(text, "class")["all"] == ["27", "9", "18"]
    assert "CC BY 2.0" in section(text, "Data")
    assert "`uint8[N, 8, 8, 3]`, NHWC, RGB bytes 0 to 255" in section(text, "Contract")
    assert "keras 3.15.1" in section(text, "Versions") and "tledge 0.1.0" in section(text, "Versions")
    assert "Confidence threshold: 40.0%, coverage 95.0%, selective accuracy 98.0% (validation)" in section(
        text, "Limits"
    )


def test_what_nobody_measured_is_a_gap(shared_report_run: Path) -> None:
    found = gaps(card_of(shared_report_run))
    assert len(found) == 6
    for words in (
        "who made this model",
        "what the model is for",
        "who took the photos",
        "what harm a wrong prediction can do",
    ):
        assert any(words in one for one in found), words


def test_unknown_licence_is_a_gap(shared_report_run: Path) -> None:
    def without(known: Summary) -> Summary:
        assert known.recipe
        return replace(known, recipe=replace(known.recipe, data=replace(known.recipe.data, licence="")))

    text = card_of(shared_report_run, without)
    assert "CC BY" not in text
    assert any("the licence of the photos" in one for one in gaps(text))


def test_run_of_an_earlier_version(tmp_path: Path) -> None:
    """No recipe, no environment, no figures on the photos, no recall: gaps, and no guesses."""
    text = card_of(bare_run(tmp_path / "run"))
    found = gaps(text)
    for words in ("where the images come from", "how many images of each class", "with which versions"):
        assert any(words in one for one in found), words
    assert "Recall by class was not measured." in text


def test_synthetic_is_said_and_needs_no_licence(shared_report_run: Path) -> None:
    text = card_of(shared_report_run, lambda known: replace(known, run=replace(known.run, synthetic=True)))
    assert "synthetic images that tledge drew itself" in text
    assert not any("licence of the photos" in one for one in gaps(text))


def test_names_do_not_break_tables(shared_report_run: Path) -> None:
    evil = "a|b\n`<script>*"

    def renamed(known: Summary) -> Summary:
        photos = {**known.photos, "counts": {"train": {evil: 3}}, "problems": [evil]}
        return replace(known, run=replace(known.run, labels=(evil,)), photos=photos)

    text = card_of(shared_report_run, renamed)
    assert "| a\\|b \\`\\<script\\>\\* | 3 |" in text and "<script>" not in text


def test_many_classes_are_summed_up(shared_report_run: Path) -> None:
    names = tuple(f"breed {number}" for number in range(31))

    def many(known: Summary) -> Summary:
        counts = {"train": dict.fromkeys(names, 2), "test": dict.fromkeys(names, 1)}
        return replace(known, run=replace(known.run, labels=names), photos={"counts": counts})

    assert rows_of(card_of(shared_report_run, many), "class") == {"all": ["62", "31"]}


def test_artifact_that_did_not_pass_says_why(own: Path) -> None:
    raw = json.loads((own / "parity.json").read_text())
    raw["rows"][0] |= {"verdict": "failed", "reasons": ["agreement 0.9, gate 1"]}
    (own / "parity.json").write_text(json.dumps(raw))
    folder = stage.bundle(RunFolder(own), unverified=True).folder
    text = (folder / "MODEL_CARD.md").read_text()
    assert rows_of(text, "artifact")["tflite-fp32"][-1] == "failed"
    assert "- `tflite-fp32`: agreement 0.9, gate 1" in text


def row(recalls: dict[str, tuple[int, float, float]], **more: object) -> ParityRow:
    return ParityRow("tflite-int8", "a", "b", 1, "passed", images=100, recall=recalls, **more)  # type: ignore[arg-type]


def weak_of(shared_report_run: Path, *rows: ParityRow) -> str:
    return section(
        model_card.text(run_summary.read(RunFolder(shared_report_run)), rows, "0"), "Known weak classes"
    )


def test_weak_classes_are_named_of_each_model(shared_report_run: Path) -> None:
    recalls = {"cat": (100, 0.5, 0.4), "dog": (100, 0.99, 0.99), "owl": (5, 0.2, 0.2)}
    text = weak_of(shared_report_run, row(recalls, accuracy=0.85))
    assert "Keras model: recall is significantly below its accuracy for cat 50.0%" in text
    assert "`tflite-int8`: recall is significantly below its accuracy for cat 40.0%" in text
    assert "Too few test images to decide (fewer than 20): owl." in text


def test_no_class_stands_out(shared_report_run: Path) -> None:
    text = weak_of(shared_report_run, row({"cat": (100, 0.9, 0.9), "dog": (100, 0.95, 0.95)}, accuracy=0.9))
    assert (
        "no class has a recall significantly below its accuracy" in text
        and "lowest recall is that of cat, 90.0%" in text
    )
    assert "Same recall as the Keras model in every class: `tflite-int8`." in text
