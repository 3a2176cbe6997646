"""The probe for GPUs survives the library that it asks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tledge import doctor
from tledge.doctor import Probe


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a library that shadows the real one in processes that are started."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))

    def write(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)

    return write


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("", Probe()),
        ("raise ImportError('libfoo.so: not found')", Probe(failed="ImportError: libfoo.so: not found")),
        ("import os; os.kill(os.getpid(), 11)", Probe(failed="ended with SIGSEGV")),
        ("import sys; sys.exit(3)", Probe(failed="ended with exit code 3")),
        (
            "import time; time.sleep(60)",
            Probe(slow="did not load within 2 s, so its GPUs are not known"),
        ),
    ],
)
def test_probe_survives_the_library(library: Callable[[str, str], None], code: str, wanted: Probe) -> None:
    library("onnxruntime", code)
    assert doctor.probe("onnxruntime", 2) == wanted


def test_gpus_are_named_by_backend(library: Callable[[str, str], None]) -> None:
    library(
        "tensorflow",
        "print('greetings')\n"
        "class config:\n"
        "    list_physical_devices = staticmethod(lambda kind: [type('D', (), {'name': f'/{kind}:0'})])\n"
        "    class experimental:\n"
        "        get_device_details = staticmethod(lambda one: {'device_name': 'Card 1'})\n",
    )
    library(
        "jax",
        "class One:\n    platform, device_kind = 'gpu', 'Card 2'\n"
        "class Two:\n    platform, device_kind = 'cpu', 'cpu'\n"
        "devices = lambda: [One, Two]\n",
    )
    assert doctor.probe("tensorflow", 20) == Probe(gpus=("Card 1",))
    assert doctor.probe("jax", 20) == Probe(gpus=("Card 2",))
