"""Keras' backend and settings: those of tledge, whatever this machine says."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from tledge._process import keras_settings
from tledge.errors import RecipeError


class Library:
    """Keras with the settings of a `keras.json`."""

    def __init__(self, backend: str = "tensorflow") -> None:
        self.settings: dict[str, Any] = {"floatx": "float16", "format": "channels_first", "epsilon": 1e-3}
        self.backend = SimpleNamespace(backend=lambda: backend)
        self.config = SimpleNamespace(
            set_floatx=lambda value: self.settings.update(floatx=value),
            set_epsilon=lambda value: self.settings.update(epsilon=value),
            set_image_data_format=lambda value: self.settings.update(format=value),
        )


@pytest.mark.parametrize(
    ("given", "chosen"),
    [(None, "tensorflow"), ("", "tensorflow"), ("jax", "jax"), ("tensorflow", "tensorflow")],
)
def test_environment_chooses_among_known_backends(
    given: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if given is not None:
        monkeypatch.setenv("KERAS_BACKEND", given)
    keras_settings.choose_backend()
    assert os.environ["KERAS_BACKEND"] == chosen


@pytest.mark.parametrize("name", ["torch", "openvino", "numpy", "Tensorflow"])
def test_other_backends_are_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(RecipeError, match=f"KERAS_BACKEND={name}: tledge computes with tensorflow or jax"):
        keras_settings.choose_backend()


def test_settings_of_the_machine_do_not_count() -> None:
    library = Library()
    keras_settings.apply(library)
    assert library.settings == {"floatx": "float32", "format": "channels_last", "epsilon": 1e-7}


def test_keras_that_a_program_imported_with_another_backend() -> None:
    with pytest.raises(RecipeError, match="imported Keras with the backend torch"):
        keras_settings.apply(Library("torch"))
