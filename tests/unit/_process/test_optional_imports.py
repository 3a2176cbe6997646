"""Libraries that may be absent: what is said where one cannot be loaded, and that none tells anybody."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from tledge._process import optional_imports
from tledge.errors import MissingError, ResourceError


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
        optional_imports.load("some_library", "train")


def test_onnxruntime_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tledge reads of the environment is ONNX Runtime's own switch, set before it loads."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", object())
    optional_imports.load("onnxruntime", "export")
    assert os.environ.pop("ORT_DISABLE_TELEMETRY") == "1"


def test_warnings_of_an_import_reach_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noisy_library.py").write_text("import warnings; warnings.warn('old'); VALUE = 7")
    monkeypatch.syspath_prepend(tmp_path)
    assert optional_imports.load("noisy_library", "hub").VALUE == 7
