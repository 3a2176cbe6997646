"""As much of Keras as callbacks and checkpoints use, so that their tests load no TensorFlow."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


class Variable:
    """A variable with a name, a value and a shape."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, np.array(value, np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def assign(self, value: Any) -> None:
        self.value = np.array(value, np.float32)


class Optimizer:
    """An optimizer that counts its steps, as learning rate schedules need it."""

    def __init__(self) -> None:
        self.iterations = Variable("iterations", 0)
        self.variables = [self.iterations]
        self.built_for: list[Variable] = []

    def build(self, variables: list[Variable]) -> None:
        self.built_for = variables


class Network:
    """A network of one weight and a random generator."""

    def __init__(self) -> None:
        self.weight = Variable("kernel", [0.0, 0.0])
        self.generator = Variable("seed_generator_state", [0, 0])
        self.weights = self.trainable_variables = [self.weight]
        self.variables = [self.weight, self.generator]
        self.optimizer = Optimizer()
        self.stop_training = False
        self.compiled: dict[str, Any] = {}

    def compile(self, **options: Any) -> None:
        self.compiled, self.optimizer = options, options["optimizer"]

    def set_weights(self, values: list[NDArray[np.float32]]) -> None:
        self.weight.assign(*values)


class SwapEMAWeights:
    """Keras' callback by name alone."""

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = swap_on_epoch


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import keras` give this for one test."""
    fake = SimpleNamespace(
        callbacks=SimpleNamespace(Callback=object, SwapEMAWeights=SwapEMAWeights),
        ops=SimpleNamespace(convert_to_numpy=lambda variable: variable.value),
        backend=SimpleNamespace(backend=lambda: "tensorflow"),
    )
    monkeypatch.setitem(sys.modules, "keras", fake)
