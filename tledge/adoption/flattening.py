"""Rebuild a Keras model without nested models and random layers, in float32, as one list of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tledge.adoption.accepted_classes import INERT, RANDOM
from tledge.contract import INPUT_NAME
from tledge.errors import ArtifactError

ACTIVATIONS = ("Activation", "Softmax", "Sigmoid", "ReLU", "Relu", "Tanh")
"""Layers and operations that are an activation and nothing else."""

NOT_FOR_PREDICTING = ("training", "mask")
"""Arguments of a layer's call that only training uses."""


@dataclass(frozen=True)
class Flat:
    """A flat functional model, and the names of what was left out or rebuilt."""

    model: Any
    removed: tuple[str, ...]
    nested: tuple[str, ...]
    retyped: bool

    @property
    def is_unchanged(self) -> bool:
        """Tell whether the model was flat, in float32 and without random layers before."""
        return not (self.removed or self.nested or self.retyped)


@dataclass
class _Rebuilder:
    removed: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    retyped: bool = False
    clones: dict[int, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=lambda: {INPUT_NAME})
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    linear: str = ""
    """The layer or operation whose activation is left out."""

    def run(self, model: Any, inputs: Any) -> Any:
        """Apply the layers of a model to `inputs`, those of nested models one by one."""
        functional = model._functional if type(model).__name__ == "Sequential" else model
        return functional._run_through_graph(inputs, operation_fn=self._step)

    def _step(self, operation: Any) -> Callable[..., Any]:
        """Return what takes the place of a layer or an operation."""
        kind = type(operation).__name__
        if kind in ("Functional", "Sequential", "Model"):
            self.nested.append(operation.name)
            return lambda inputs, **_options: self.run(operation, inputs)
        if kind in RANDOM and kind not in INERT:
            self.removed.append(kind)
        if kind in RANDOM or (operation.name == self.linear and kind in ACTIVATIONS):
            return lambda inputs, **_options: inputs
        return _without_training(self._clone(operation))

    def _clone(self, operation: Any) -> Any:
        import keras

        if id(operation) not in self.clones:
            config = operation.get_config()
            config["name"] = unused_name(operation.name, self.names)
            if operation.name == self.linear:
                config["activation"] = "linear"
            if isinstance(operation, keras.layers.Layer):
                self.retyped |= operation.dtype_policy.name != "float32"
                config["dtype"] = "float32"
            clone = type(operation).from_config(config)
            if isinstance(operation, keras.layers.Layer):
                self.pairs.append((clone, operation))
            self.clones[id(operation)] = clone
        return self.clones[id(operation)]

    def copy_weights(self) -> None:
        """Give the clones, which are built now, the weights of their originals."""
        for clone, layer in self.pairs:
            clone.set_weights(layer.get_weights())


def unused_name(name: str, names: set[str]) -> str:
    """Return a name that is not among `names`, and add it: two nested models may use the same ones."""
    chosen, number = name, 1
    while chosen in names:
        number += 1
        chosen = f"{name}_{number}"
    names.add(chosen)
    return chosen


def _without_training(clone: Any) -> Callable[..., Any]:
    return lambda *arguments, **options: clone(
        *arguments, **{name: value for name, value in options.items() if name not in NOT_FOR_PREDICTING}
    )


def flatten(model: Any, size: tuple[int, int]) -> Flat:
    """Return a model of the same layers and weights, flat, for images float32[N, *size, channels].

    Raises:
        ArtifactError: it has several inputs or outputs.
    """
    import keras

    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ArtifactError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; expected "
            "one photo in and one list of probabilities out."
        )
    rebuilder = _Rebuilder()
    image = keras.Input((*size, int(model.inputs[0].shape[-1])), dtype="float32", name=INPUT_NAME)
    outputs = keras.tree.flatten(rebuilder.run(model, [image]))
    flat = keras.Model(image, outputs[0], name=model.name)
    rebuilder.copy_weights()
    return Flat(flat, tuple(dict.fromkeys(rebuilder.removed)), tuple(rebuilder.nested), rebuilder.retyped)


def apply_clones(model: Any, inputs: Any, linear: str = "") -> Any:
    """Apply clones of a flat model's layers to `inputs`; return its output.

    The activation of the layer or operation named `linear` is left out. The clones have the same weights.
    """
    import keras

    rebuilder = _Rebuilder(linear=linear)
    output = keras.tree.flatten(rebuilder.run(model, [inputs]))[0]
    rebuilder.copy_weights()
    return output
