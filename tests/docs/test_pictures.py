"""Pictures of README and pages: the verdict table as it was measured, and nothing fetched from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # its scripts import one another as they lie

import verdicts

SHIPPED = sorted((ROOT / "docs" / "images").glob("*.svg"))


def requests(svg: str) -> list[str]:
    """What a browser would fetch to show it: fonts, styles and pictures with an address."""
    return re.findall(r"(?:url\(|href=|src=)\s*[\"']?((?:https?:)?//[^\"')\s]+)", svg)


def words(svg: str) -> str:
    return re.sub(r"<[^>]*>", " ", svg).replace("&#160;", " ")


@pytest.mark.slow
def test_picture_shows_what_was_measured(small_run: Path) -> None:
    svg = verdicts.picture(small_run)
    parity = json.loads((small_run / "parity.json").read_text(encoding="utf-8"))
    shown = words(svg)
    assert "tledge export runs/small --int8" in shown and f"{parity['reference']['accuracy']:.4f}" in shown
    for row in parity["rows"]:
        assert row["variant"] in shown and f"{row['agreement']:.4f}" in shown
    assert "…" not in re.sub(r"pp \(.*?\)", "", shown)
    assert requests(svg) == [] and verdicts.picture(small_run) == svg


@pytest.mark.slow
def test_picture_is_written_by_the_command(small_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, verdicts.__file__, small_run, tmp_path / "one.svg"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "one.svg").read_text(encoding="utf-8") == verdicts.picture(small_run)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_pictures_fetch_nothing(path: Path) -> None:
    assert requests(path.read_text(encoding="utf-8")) == []


def test_fetched_fonts_are_caught() -> None:
    assert requests('src: url("https://example.org/a.woff2")') == ["https://example.org/a.woff2"]
    assert requests('<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>') == []


def test_pictures_are_described() -> None:
    """Every picture on a page has words for who cannot see it."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = [one for page in pages for one in re.findall(r"!\[([^\]]*)\]", page.read_text(encoding="utf-8"))]
    assert [alt for alt in found if len(alt) < 20] == []
