"""The report in Chromium: its width, its console, and what axe says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chromium import chromium, opened
from tests.helpers.reports import with_report


def test_report_fits_and_has_no_serious_fault(shared_report_run: Path, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    path = with_report(shared_report_run, tmp_path / "tiny") / "report.html"
    with chromium() as browser:
        for width, colours in ((400, "light"), (400, "dark"), (1280, "light"), (1280, "dark")):
            size = {"viewport": {"width": width, "height": 860}}
            with opened(browser, path.as_uri(), color_scheme=colours, **size) as seen:
                assert seen.page.evaluate("() => document.documentElement.scrollWidth") <= width
                found: list[dict[str, Any]] = axe.run(seen.page).response["violations"]
                serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
                assert serious == [] and seen.errors == [], (width, colours)
