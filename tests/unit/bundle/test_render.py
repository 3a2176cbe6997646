"""The templates of a bundle: what happens without jinja2, and with a value that is not there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tledge.bundle import build, render
from tledge.run.folder import RunFolder

jinja2 = pytest.importorskip("jinja2")


def test_bundle_without_jinja_is_five(
    shared_report_run: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the bundle of before stays."""
    run = Path(shutil.copytree(shared_report_run, tmp_path / "tiny"))
    before = build.bundle(RunFolder(run))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = cli("bundle", run)
    assert done.code == 5 and "jinja2 is not installed" in done.err and "pip install" in done.err
    assert (before.folder / "MODEL_CARD.md").is_file() and before.zip.is_file()
    assert sorted(path.name for path in run.iterdir() if path.name.startswith((".", "bundle"))) == ["bundle"]


def test_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="manifest"):
        render.render_template("README.md.jinja")


def test_templates_lie_in_the_package() -> None:
    assert {path.name for path in render.FOLDER.iterdir()} == {"MODEL_CARD.md.jinja", "README.md.jinja"}
