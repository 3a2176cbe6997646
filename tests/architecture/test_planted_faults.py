"""The list of planted faults does not go stale: each can still be planted, and its tests exist."""

from __future__ import annotations

import ast
from dataclasses import replace

import planted_faults
import pytest
from planted_faults import Fault

from tests.helpers.paths import ROOT

FAULTS = planted_faults.read_faults()


def functions(path: str) -> set[str]:
    """The functions that a test file defines."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_can_be_planted(fault: Fault) -> None:
    """Its text stands once in the code, and what takes its place is Python that means something else."""
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    planted = fault.planted(text)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_tests_of_a_fault_exist(fault: Fault) -> None:
    assert fault.tests
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert name in functions(path), test
        assert fault.slow or path.startswith("tests/unit/"), "a fault that a training shows is slow"


def test_names_of_faults_differ() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("text", ["nothing of it", "a = 1\na = 1\n"])
def test_fault_whose_text_is_gone_is_an_error(text: str) -> None:
    fault = replace(FAULTS[0], before="a = 1", after="a = 2")
    with pytest.raises(ValueError, match="expected once"):
        fault.planted(text)
