"""Notebooks lie here without what a run of them printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.notebooks import NOTEBOOKS


def test_notebooks_are_there() -> None:
    assert [path.name for path in NOTEBOOKS] == ["quickstart.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_holds_no_output(path: Path) -> None:
    cells = [one for one in json.loads(path.read_text())["cells"] if one["cell_type"] == "code"]
    assert len(cells) > 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
