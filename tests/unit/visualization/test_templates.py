"""Environments of templates: strict, escaped only for HTML, and a clear message without jinja2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tledge.errors import MissingError
from tledge.visualization import templates

jinja2 = pytest.importorskip("jinja2")


@pytest.mark.parametrize(("escape_html", "written"), [(False, "<b>\n"), (True, "&lt;b&gt;\n")])
def test_html_alone_is_escaped(escape_html: bool, written: str, tmp_path: Path) -> None:
    (tmp_path / "page.jinja").write_text("{% if true %}\n{{ text }}\n{% endif %}\n")
    template = templates.environment(tmp_path, escape_html=escape_html).get_template("page.jinja")
    assert template.render(text="<b>") == written


def test_unknown_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.jinja").write_text("{{ text }}")
    with pytest.raises(jinja2.UndefinedError):
        templates.environment(tmp_path).get_template("page.jinja").render()


def test_missing_jinja_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingError, match=r"pip install 'tledge\[export\]'"):
        templates.environment(tmp_path)
