"""Pictures of README and pages: the verdict table as it was measured, and nothing fetched from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.pictures import requests

SHIPPED = sorted((ROOT / "docs" / "images").glob("*.svg"))


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
