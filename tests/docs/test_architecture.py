"""The map of the code: its drawing shows the contract, and every path that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import layers
import pytest

from tests.helpers.paths import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "tledge"
NOT_COMMITTED = {"docs/reference/", "torture/results.json"}


def parts_of_package(folder: Path) -> set[str]:
    """What lies directly in the package, its two entry files aside."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    return modules | {path.parent.name for path in folder.glob("*/__init__.py")}


def drawn(svg: str) -> set[str]:
    """The packages that a drawing shows."""
    return set(re.findall(r'class="package"[^>]*>(\w+)<', svg))


def missing_paths(text: str) -> list[str]:
    """Paths in the style of code that do not exist."""
    folders = "tledge|tests|torture|benchmarks|tools|docs|export|recipes|notebooks|.ci"
    named = re.findall(rf"`((?:{folders})/[\w./]+|(?!__)[\w-]+\.(?:py|toml|txt))`", text)
    return [name for name in named if not (ROOT / name).exists() and name not in NOT_COMMITTED]


def test_drawing_is_of_todays_contract() -> None:
    assert layers.DRAWING.read_text(encoding="utf-8") == layers.drawing(PYPROJECT), "run docs/layers.py"


def test_drawing_shows_every_package() -> None:
    assert drawn(layers.DRAWING.read_text(encoding="utf-8")) == parts_of_package(PACKAGE)


@pytest.mark.parametrize("package", ["metrics", "formats", "_io"])
def test_lost_package_is_caught(package: str) -> None:
    without = re.sub(rf"\b{package} [|:] | [|:] {package}\b", "", PYPROJECT)
    assert drawn(layers.drawing(without)) == parts_of_package(PACKAGE) - {package}
    assert layers.drawing(without) != layers.DRAWING.read_text(encoding="utf-8")


def test_order_inside_a_layer_is_drawn() -> None:
    svg = layers.drawing(PYPROJECT)
    assert "inside: devices → bundle → recipe → formats" in svg
    assert "inside: run → config, contract" in svg


def test_page_describes_every_package() -> None:
    named = set(re.findall(r"^\|[^|]*\| `tledge/(\w+)(?:\.py)?` \|", PAGE, re.M))
    assert named == parts_of_package(PACKAGE)


@pytest.mark.parametrize("text", [PAGE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_named_paths_exist(text: str) -> None:
    assert len(re.findall(r"`[\w.]+/[\w./]+`", text)) > 8
    assert missing_paths(text) == []


def test_lost_path_is_caught() -> None:
    assert missing_paths("`tledge/data/gone.py`, `tledge/gone`, `gone.toml`, `tledge/config.py`") == [
        "tledge/data/gone.py", "tledge/gone", "gone.toml",
    ]  # fmt: skip


def test_twenty_questions_have_one_path_each() -> None:
    table = PAGE.partition("## Where do I change")[2]
    answers = re.findall(r"^\| (?!what|--).* \| (.*) \|$", table, re.M)
    assert len(answers) >= 20
    assert [answer for answer in answers if not re.fullmatch(r"`[^`]+`", answer)] == []


def test_contributing_is_short() -> None:
    assert len(CONTRIBUTING.splitlines()) <= 150
