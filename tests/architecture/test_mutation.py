"""The mutation check can run: its modules and tests exist, and what it explains still stands in the code."""

from __future__ import annotations

import ast
import tomllib

import mutation
import pytest
from mutation import Mutant

from tests.helpers.paths import ROOT

LISTED = tomllib.loads(mutation.SURVIVORS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", mutation.MODULES)
def test_module_and_its_tests_exist(module: str) -> None:
    assert (ROOT / mutation.path_of(module)).is_file()
    assert [path for path in mutation.tests_of(module) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    "entry", LISTED["survivor"], ids=lambda entry: f"{entry['module']}: {entry['after']}"
)
def test_explained_change_can_still_be_made(entry: dict[str, str]) -> None:
    code = (ROOT / mutation.path_of(entry["module"])).read_text(encoding="utf-8")
    assert entry["before"] in code and entry["before"] != entry["after"] and entry["why"]


def test_scores_are_of_modules_that_are_checked() -> None:
    assert {entry["module"] for entry in LISTED["score"]} <= set(mutation.MODULES)
    assert all(0 < entry["tried"] <= entry["made"] for entry in LISTED["score"])


@pytest.mark.parametrize(
    ("before", "after", "is_wording"),
    [
        ('raise E("it is gone")', 'raise E("XXit is goneXX")', True),
        ('raise E("it is gone")', 'raise E("IT IS GONE")', True),
        ('raise E("it is gone")', "raise E(None)", False),
        ('if kind == "passed":', 'if kind == "XXpassedXX":', False),
        ('f"at most {100 * limit} is"', 'f"at most {101 * limit} is"', False),
        ("a + b", "a - b", False),
    ],
)
def test_only_sentences_are_wording(before: str, after: str, is_wording: bool) -> None:
    assert Mutant("x", before, after).is_wording is is_wording


def test_tool_says_why_it_exists() -> None:
    text = (ROOT / "tools" / "mutation.py").read_text(encoding="utf-8")
    assert "make mutation" in (ast.get_docstring(ast.parse(text)) or "")
    assert "mutation:" in (ROOT / "Makefile").read_text(encoding="utf-8")
