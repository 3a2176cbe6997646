"""The notebook runs as it lies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.notebooks import NOTEBOOKS
from tests.helpers.paths import ROOT

RUN = (
    "import sys, nbformat\nfrom nbclient import NotebookClient\n"
    "book = nbformat.read(sys.argv[1], as_version=4)\nnbformat.validate(book)\n"
    "NotebookClient(book, timeout=600, kernel_name='python3').execute()\n"
    "nbformat.write(book, sys.argv[2])\n"
)


def executed(notebook: Path, folder: Path) -> list[str]:
    """Run a notebook in `folder`; gives the text of each code cell, <png> or <jpeg> for a picture."""
    out = folder / "executed.ipynb"
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(notebook), str(out)],
        cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [one for one in json.loads(out.read_text())["cells"] if one["cell_type"] == "code"]
    return ["".join(map(_shown, cell["outputs"])) for cell in cells]


def _shown(output: dict[str, object]) -> str:
    if output["output_type"] == "stream":
        return "".join(output["text"])  # type: ignore[arg-type]
    kinds = [kind for kind in ("image/png", "image/jpeg") if kind in output["data"]]  # type: ignore[operator]
    return f"<{kinds[0].removeprefix('image/')}>" if kinds else "<other>"


@pytest.mark.slow(minutes=2)
def test_quickstart_runs(tmp_path: Path) -> None:
    _imports, trained, pictures, exported, flips, answers = executed(NOTEBOOKS[0], tmp_path)
    assert trained.startswith("test accuracy 0.")
    assert pictures == "<png><png>"
    assert [line.split()[0] for line in exported.splitlines()] == ["tflite-fp32", "tflite-int8", "onnx-fp32"]
    assert all(line.endswith("passed") for line in exported.splitlines())
    run = json.loads((tmp_path / "runs/notebook/parity.json").read_text())
    differing = [row["variant"] for row in run["rows"] if row["flips"]]
    assert flips.count("<png>") == len(differing) == flips.count("wrong both times")
    assert answers.count(".jpg: ") == 10 and answers.endswith("<jpeg>")


def test_failing_cell_fails(tmp_path: Path) -> None:
    book = json.loads(NOTEBOOKS[0].read_text())
    book["cells"] = [cell for cell in book["cells"] if cell["cell_type"] == "code"][:1]
    book["cells"][0]["source"] = "import tledge\ntledge.trian"
    (tmp_path / "bad.ipynb").write_text(json.dumps(book))
    with pytest.raises(AssertionError, match="no attribute 'trian'"):
        executed(tmp_path / "bad.ipynb", tmp_path)
