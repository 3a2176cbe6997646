"""Open somebody else's Keras 2 model in HDF5 (`.h5`), which Keras 3 refuses in part, in a process of its own.

The configuration is taken as data: each layer is built anew with the arguments that matter while predicting,
nested models are laid out flat, and each layer gets its arrays by its name.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from tledge.adoption import accepted_classes
from tledge.adoption.accepted_classes import MODELS
from tledge.adoption.flattening import unused_name
from tledge.errors import ArtifactError
from tledge.models import keras_file
from tledge.models.keras_file import MAX_CONFIG

DROPPED = ("_initializer", "_regularizer", "_constraint")
"""Endings of arguments that only training uses."""

NOT_IN_KERAS_3 = frozenset({"batch_input_shape", "input_dtype", "fused", "virtual_batch_size", "adjustment"})
"""Arguments that Keras 3 does not know."""

OPERATION = accepted_classes.OPERATION_OF_TENSORFLOW

OPERATIONS: dict[str, Callable[[float], tuple[float, float]]] = {
    "math.truediv": lambda number: (1 / number, 0.0),
    "math.divide": lambda number: (1 / number, 0.0),
    "math.multiply": lambda number: (number, 0.0),
    "math.subtract": lambda number: (1.0, -number),
    "math.add": lambda number: (1.0, number),
    "__operators__.add": lambda number: (1.0, number),
}
"""Operations with a number: the scale and the offset that they are."""

SPELLINGS = {"depthwise_kernel": ("depthwise_kernel", "kernel"), "kernel": ("kernel", "depthwise_kernel")}
"""Names of an array that mean the same one."""


def open_model(content: bytes, where: str) -> tuple[Any, str, str]:
    """Return the Keras model of an HDF5 file, the framework that wrote it, and its version.

    Raises:
        ArtifactError: it is damaged, holds weights without a model, or names classes that are not accepted.
    """
    import h5py  # type: ignore[import-untyped]

    try:
        _judge(content, where)
        with h5py.File(io.BytesIO(content), "r") as file:
            config = json.loads(_text(file, "model_config", where))
            version = _short(file.attrs.get("keras_version", ""))
            accepted_classes.require(config, where)
            weights = file.get("model_weights", file)
            model = _Builder(where, _arrays_by_layer(weights)).build(config)
    except ArtifactError:
        raise
    except (ValueError, RecursionError, OSError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise ArtifactError(f"{where}: damaged, or not as Keras writes it ({reason}).") from error
    return model, "Keras 3" if version.startswith("3") else "Keras 2", version


def _judge(content: bytes, where: str) -> None:
    """Raise ArtifactError unless the file holds plain arrays that lie in it."""
    try:
        keras_file.judge_weights(io.BytesIO(content), keras_file.weights_limit(len(content)))
    except ValueError as error:
        raise ArtifactError(f"{where}: refused, because {error}.") from error


def _text(file: Any, name: str, where: str) -> str:
    """Return an attribute of the file as text."""
    value = file.attrs.get(name)
    if value is None:
        raise ArtifactError(
            f"{where}: it holds weights without their model. Save the whole model: model.save(FILE)"
        )
    text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    if len(text) > MAX_CONFIG:
        raise ArtifactError(f"{where}: its configuration is larger than {MAX_CONFIG} bytes.")
    return text


def _short(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "".join(letter for letter in text if letter.isalnum() or letter in ".-+")[:40]


def _arrays_by_layer(weights: Any) -> dict[tuple[str, str], list[Any]]:
    """Return the arrays by layer and array name, such as ("Conv1", "kernel"), in the order of the file."""
    import h5py

    found: dict[tuple[str, str], list[Any]] = {}
    waiting = [("", weights)]
    while waiting:
        path, group = waiting.pop()
        for name in group:
            child, here = group[name], f"{path}/{name}"
            if isinstance(child, h5py.Group):
                waiting.append((here, child))
            else:
                *_groups, layer, array = ["", "", *here.split("/")]
                found.setdefault((layer, array.partition(":")[0]), []).append((here, child))
    return found


class _Builder:
    """Build a flat functional model from a configuration of Keras 2 or Keras 3."""

    def __init__(self, where: str, arrays: Mapping[tuple[str, str], list[Any]]) -> None:
        self._where = where
        self._arrays = arrays
        self._names: set[str] = set()
        self._layers: list[tuple[Any, str, tuple[str, ...]]] = []
        self._nested: list[str] = []

    def build(self, config: Mapping[str, Any]) -> Any:
        """Return the model with its weights."""
        import keras

        image = keras.Input(self._shape(config), dtype="float32", name="photo")
        outputs = self._apply(config, [image], ())
        if len(outputs) != 1:
            raise ArtifactError(f"{self._where}: the model has {len(outputs)} outputs; expected one.")
        model = keras.Model(image, outputs[0], name=str(config["config"].get("name", "model"))[:100])
        for layer, name, path in self._layers:
            layer.set_weights([self._array(layer, variable, name, path) for variable in layer.weights])
        return model

    def _shape(self, config: Mapping[str, Any]) -> tuple[int | None, ...]:
        """Return the shape of the photo: that of the first layer that tells one."""
        waiting = [config]
        while waiting:
            part = waiting.pop(0)
            settings = part.get("config") or {}
            if not isinstance(settings, dict):  # a list of layers, as Keras 2.2 wrote a Sequential
                waiting[:0] = settings
                continue
            shape = settings.get("batch_input_shape") or settings.get("batch_shape")
            if shape:
                return tuple(None if side is None else int(side) for side in shape[1:])
            waiting[:0] = settings.get("layers", [])
        raise ArtifactError(f"{self._where}: it does not say the size of the photos.")

    def _apply(self, config: Mapping[str, Any], inputs: list[Any], path: tuple[str, ...]) -> list[Any]:
        """Apply a model's layers to tensors; return its outputs."""
        settings = config["config"]
        layers = settings if isinstance(settings, list) else settings["layers"]
        if config["class_name"] == "Sequential" or isinstance(settings, list):
            for layer in layers:
                if layer["class_name"] != "InputLayer":
                    inputs = self._step(layer, inputs, path)
            return inputs
        return self._functional(settings, layers, inputs, path)

    def _functional(
        self, settings: Mapping[str, Any], layers: list[Any], inputs: list[Any], path: tuple[str, ...]
    ) -> list[Any]:
        """Apply the layers of a functional model in the order in which their inputs are known."""
        known: dict[tuple[str, int], list[Any]] = {}
        for (name, *_rest), tensor in zip(_references(settings["input_layers"]), inputs, strict=True):
            known[name, 0] = [tensor]
        built: dict[str, Any] = {}
        waiting = [
            (layer, number + _first_call(layer["class_name"], node), node)
            for layer in layers
            if layer["class_name"] != "InputLayer"
            for number, node in enumerate(layer["inbound_nodes"])
        ]
        while waiting:
            ready = [item for item in waiting if all(ref[:2] in known for ref in _inputs_of(item[2]))]
            if not ready:
                raise ArtifactError(f"{self._where}: its layers are not connected.")
            for layer, number, node in ready:
                tensors = [known[ref[:2]][ref[2]] for ref in _inputs_of(node)]
                name = layer.get("name") or layer["config"]["name"]
                if layer["class_name"] == OPERATION:
                    known[name, number] = [self._operation(layer["config"], node, tensors)]
                else:
                    known[name, number] = self._step(layer, tensors, path, built)
            waiting = [item for item in waiting if item not in ready]
        return [known[ref[:2]][ref[2]] for ref in _references(settings["output_layers"])]

    def _step(
        self,
        layer: Mapping[str, Any],
        inputs: list[Any],
        path: tuple[str, ...],
        built: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Apply a layer, or the layers of a nested model, to tensors."""
        if layer["class_name"] in MODELS:
            own = layer["config"].get("name", "") if isinstance(layer["config"], dict) else ""
            return self._apply(layer, inputs, (*path, str(own)))
        name = str(layer["config"].get("name") or layer.get("name"))
        if built is None or name not in built:
            made = self._layer(layer["class_name"], layer["config"], name, path)
            if built is not None:
                built[name] = made
        else:
            made = built[name]
        output = made(inputs if len(inputs) > 1 or _merges(layer["class_name"]) else inputs[0])
        return list(output) if isinstance(output, (list, tuple)) else [output]

    def _operation(self, settings: Mapping[str, Any], node: Any, inputs: list[Any]) -> Any:
        """Apply an operation of TensorFlow with a number, as `preprocess_input` in a model of Keras 2."""
        import keras

        function, call = str(settings.get("function")), node if isinstance(node[0], str) else node[0]
        options = call[3] if len(call) > 3 else {}
        operand = options.get("y")
        if function not in OPERATIONS or not isinstance(operand, (int, float)) or len(inputs) != 1:
            raise ArtifactError(
                f"{self._where}: it holds the operation {function[:80]!r} of TensorFlow, which is not read "
                f"from this format. {accepted_classes.ADVICE}."
            )
        scale, offset = OPERATIONS[function](float(operand))
        return keras.layers.Rescaling(scale, offset, name=unused_name("operation", self._names))(inputs[0])

    def _layer(self, kind: str, settings: Mapping[str, Any], name: str, path: tuple[str, ...]) -> Any:
        import keras

        if not hasattr(keras.layers, kind):
            raise ArtifactError(f"{self._where}: Keras has no layer {kind[:80]!r} any more.")
        layer_class = getattr(keras.layers, kind)
        kept = {
            key: value
            for key, value in settings.items()
            if key not in NOT_IN_KERAS_3 and not key.endswith(DROPPED) and key not in ("name", "dtype")
        }
        if kind == "DepthwiseConv2D":
            kept.pop("groups", None)  # Keras 2 writes it and does not use it
        if kind == "BatchNormalization" and isinstance(kept.get("axis"), list):
            kept["axis"] = kept["axis"][0]
        layer = layer_class.from_config({**kept, "name": unused_name(name, self._names), "dtype": "float32"})
        self._layers.append((layer, name, path))
        return layer

    def _array(self, layer: Any, variable: Any, name: str, path: tuple[str, ...]) -> Any:
        """Return the array of a layer's variable: the one whose place in the file fits the nesting best."""
        names = SPELLINGS.get(variable.name, (variable.name,))
        found = [item for array in names for item in self._arrays.get((name, array), [])]
        found = [item for item in found if tuple(item[1].shape) == tuple(variable.shape)]
        if not found:
            raise ArtifactError(
                f"{self._where}: it holds no weights {variable.name!r} of the shape "
                f"{tuple(variable.shape)} for the layer {name[:80]!r}."
            )
        del layer
        _place, array = max(found, key=lambda item: sum(f"/{part}/" in f"{item[0]}/" for part in path))
        return array[()]


def _merges(kind: str) -> bool:
    """Tell whether a layer takes a list of tensors, also of a single one."""
    return kind in ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")


def _first_call(kind: str, node: Any) -> int:
    """Return the number of a layer's first call: a nested functional model has one from its making.

    In Keras 2 that is also so of a Sequential; its calls are lists, those of Keras 3 objects.
    """
    return int(kind in MODELS and not (kind == "Sequential" and isinstance(node, dict)))


def _references(value: Any) -> list[tuple[str, int, int]]:
    """Return the tensors that a list of inputs or outputs names; a single one may stand without a list."""
    if value and isinstance(value[0], str):
        value = [value]
    return [(str(name), int(node), int(tensor)) for name, node, tensor, *_rest in value]


def _inputs_of(node: Any) -> list[tuple[str, int, int]]:
    """Return the tensors that a layer's call takes, in the form of Keras 2 or Keras 3."""
    if isinstance(node, dict):
        found: list[tuple[str, int, int]] = []
        waiting = list(node.get("args", []))
        while waiting:
            part = waiting.pop(0)
            if isinstance(part, list):
                waiting[:0] = part
            elif isinstance(part, dict) and part.get("class_name") == "__keras_tensor__":
                found += _references([part["config"]["keras_history"]])
        return found
    return _references(node)
