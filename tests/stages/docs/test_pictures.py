"""Pictures are made of what was measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import verdicts

from tests.helpers.pictures import requests
from tledge.visualization.text_format import percent


def words(svg: str) -> str:
    return re.sub(r"<[^>]*>", " ", svg).replace("&#160;", " ")


def test_picture_shows_what_was_measured(small_run: Path) -> None:
    svg = verdicts.picture(small_run)
    parity = json.loads((small_run / "parity.json").read_text(encoding="utf-8"))
    shown = words(svg)
    assert "tledge export runs/small --int8" in shown and f"{parity['reference']['accuracy']:.1%}" in shown
    for row in parity["rows"]:
        assert row["variant"] in shown and percent(row["agreement"]) in shown
    assert "…" not in shown
    assert requests(svg) == [] and verdicts.picture(small_run) == svg


def test_picture_is_written_by_the_command(small_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, verdicts.__file__, small_run, tmp_path / "one.svg"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "one.svg").read_text(encoding="utf-8") == verdicts.picture(small_run)
