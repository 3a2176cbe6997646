"""The report as HTML and as Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers import fake_report
from tests.helpers.fake_report import LABELS, Page
from tests.helpers.report_texts import rewritten
from tests.helpers.reports import change
from tledge.report import mistakes, overview
from tledge.visualization.text_format import percent

pytest.importorskip("jinja2")


def test_nothing_is_asked_for_from_elsewhere(made: Path, page: Page) -> None:
    of_run = "|".join(re.escape(path) for path, _name in overview.LINKS)
    allowed = re.compile(rf"#[\w-]+|data:image/(jpeg|png);base64,[\w+/=]+|{of_run}")
    for _tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert allowed.fullmatch(attributes.get(name, "#none")), attributes
    text = (made / "report.html").read_text()
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)
    assert "default-src 'none'" in text


def test_every_picture_has_words(page: Page) -> None:
    assert len(page.named("img")) == 29 + 2 * 3 + mistakes.MOST_PICTURES
    assert all(one["alt"].strip() for one in page.named("img"))
    charts = page.named("svg")
    assert len(charts) == 3 and all(one["role"] == "img" and one["aria-label"] for one in charts)
    assert "train from 1.1000 to 0.2000" in charts[0]["aria-label"]


def test_links_and_headings_meet(page: Page) -> None:
    targets = {one["id"] for _tag, one in page.tags if "id" in one}
    hrefs = {one["href"] for one in page.named("a")}
    files = {href for href in hrefs if not href.startswith("#")}
    assert files == {"recipe.toml", "history.csv", "parity.json"}
    linked = {href.removeprefix("#") for href in hrefs - files}
    assert linked <= targets
    assert linked == {
        "data", "training", "answers", "mistakes", "artifacts", "flips", "quantization", "environment",
        "again",
    }  # fmt: skip
    assert len(page.named("h1")) == 1


def test_names_are_text_and_not_markup(own: Path) -> None:
    evil = "<script>alert(1)</script>|`*"
    change(own / "run.json", lambda raw: raw.update(description=evil, labels=["cat", "dog", evil]))
    page = rewritten(own)
    assert evil in page.text and page.named("script") == []
    text = (own / "report.md").read_text()
    assert "<script>" not in text and "\\<script\\>alert(1)\\</script\\>\\|\\`\\*" in text


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
        assert shown[1:3] == [row["verdict"], percent(row["accuracy"])]
        assert shown[5:7] == [percent(row["agreement"]), f"{row['bytes'] / 1024:.0f}"]
    expected = fake_report.known(made)
    for label in LABELS:
        (found,) = [row for row in tables["class test images"] if row[0] == label]
        assert found[2] == percent(expected[f"answers.class.{label}.recall"])
        (counts,) = [row for row in tables["label cat"] if row[0] == label]
        assert [float(one) for one in counts[1:]] == [
            expected[f"answers.counts.{label}.{other}"] for other in LABELS
        ]
    assert "\n\n\n" not in text and text.startswith("# tiny 1: passed\n")


def test_markdown_names_pictures_that_are_there(made: Path) -> None:
    named = re.findall(r"!\[.+?\]\((\S+)\)", (made / "report.md").read_text())
    assert "evidence/photos.png" in named and "evidence/tflite-fp32-flips.png" in named
    assert [name for name in named if not (made / name).is_file()] == []
