"""A run with its report, and a copy to change."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.fake_report import Page
from tests.helpers.reports import with_report


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
