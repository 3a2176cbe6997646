"""The lowest versions: read from pyproject.toml, and tried by tests and torture that exist."""

from __future__ import annotations

import tomllib

import floors
import pytest

from tests.helpers.paths import ROOT
from torture.runner import GROUPS


def test_lowest_versions_are_those_of_the_project() -> None:
    lowest = floors.floors()
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("numpy", "pillow", "keras", "onnx", "onnxruntime", "h5py", "jinja2", "cryptography"):
        assert f'"{name}>={lowest[name]}"' in text.lower()
    assert tomllib.loads(text)["project"]["optional-dependencies"].keys() >= set(floors.EXTRAS)


def test_another_version_takes_its_place() -> None:
    assert floors.floors(["Keras==3.9.0"])["keras"] == "3.9.0"


@pytest.mark.parametrize(
    ("requirement", "lowest"),
    [
        ("Pillow>=13.0", ("pillow", "13.0")),
        ("setuptools>=78.1.1,<81", ("setuptools", "78.1.1")),
        ("tensorflow[and-cuda]>=2.19", ("tensorflow", "2.19")),
        ("setuptools<81", None),
        ("tledge[train]", None),
    ],
)
def test_requirement_is_read(requirement: str, lowest: tuple[str, str] | None) -> None:
    assert floors.lowest_version(requirement) == lowest


def test_what_is_run_exists() -> None:
    assert [path for path in floors.TESTS if not (ROOT / path).exists()] == []
    assert set(floors.TORTURE) <= set(GROUPS)
    assert {line.partition("==")[0] for line in floors.pinned(floors.TOOLS)} == set(floors.TOOLS)
