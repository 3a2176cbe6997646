"""The threads that TensorFlow and JAX compute with: as many as the machine has, unless told otherwise."""

import os
import sys

import pytest

from tledge._process import compute_threads, optional_imports


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with neither variable set, and put back what the process had."""
    for name in (compute_threads.TENSORFLOW, compute_threads.JAX, "KERAS_BACKEND"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0}, raising=False)  # as under taskset -c 0


def test_every_import_fixes_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    optional_imports.load("tensorflow", "train")
    assert compute_threads.settings() == {"TF_NUM_INTRAOP_THREADS": "6"}


def test_count_that_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compute_threads.TENSORFLOW, "16")
    compute_threads.fix_count()
    assert compute_threads.settings() == {"TF_NUM_INTRAOP_THREADS": "16"}


@pytest.mark.parametrize(("plugin", "expected"), [(None, "6"), (object(), None)])
def test_jax_is_fixed_on_the_cpu_alone(
    monkeypatch: pytest.MonkeyPatch, plugin: object, expected: str | None
) -> None:
    """Beside a GPU, whose plugin is installed, JAX keeps its threads."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(compute_threads, "find_spec", {"jax_plugins": plugin}.get)
    compute_threads.fix_count()
    assert os.environ.get("NPROC") == expected
