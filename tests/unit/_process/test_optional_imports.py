"""Closing off stderr in several threads at once."""

import importlib
import os
import sys

import pytest

from tledge import quiet
from tledge.errors import MissingError, ResourceError
from tledge.quiet import native_stderr_closed


def place() -> tuple[int, int]:
    found = os.fstat(2)
    return found.st_dev, found.st_ino


def test_overlapping_blocks_give_stderr_back() -> None:
    """As of two threads: the first to begin ends first."""
    before, one, other = place(), native_stderr_closed(), native_stderr_closed()
    one.__enter__()
    closed = place()
    other.__enter__()
    one.__exit__(None, None, None)
    assert place() == closed != before
    other.__exit__(None, None, None)
    assert place() == before


@pytest.mark.parametrize(
    ("said", "kind"), [("no such module", MissingError), ("x.so: failed to map segment", ResourceError)]
)
def test_library_without_memory_is_not_missing(
    monkeypatch: pytest.MonkeyPatch, said: str, kind: type[Exception]
) -> None:
    def load(_name: str) -> None:
        raise ImportError(said)

    monkeypatch.setattr(importlib, "import_module", load)
    with pytest.raises(kind, match=said):
        quiet.load("some_library", "train")


def test_onnxruntime_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tledge reads of the environment is ONNX Runtime's own switch, set before it loads."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", object())
    quiet.load("onnxruntime", "export")
    assert os.environ.pop("ORT_DISABLE_TELEMETRY") == "1"
