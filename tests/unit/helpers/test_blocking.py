"""Taking packages away leaves everything else as it was."""

import importlib
import sys

import pytest

from tests.helpers.blocking import block


def test_blocked_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as one:
        block(one, ["wave"])
        with pytest.raises(ModuleNotFoundError, match="'wave'"):
            importlib.import_module("wave")
    importlib.import_module("wave")


def test_finders_that_imports_add_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = type("Finder", (), {"find_spec": lambda *_: None})()
    with monkeypatch.context() as one:
        block(one, ["wave"])
        sys.meta_path.append(finder)
    assert finder in sys.meta_path
    sys.meta_path.remove(finder)
