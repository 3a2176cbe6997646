"""Use TF-Hub modules and other SavedModels as a Keras 3 layer that trains, saves and converts like others.

`hub.KerasLayer` belongs to Keras 2 and `keras.layers.TFSMLayer` does not train. Here the graph of a
SavedModel is taken apart instead: its structure, without the values of variables, goes into the
layer's config, and its variables become ordinary Keras weights that the graph takes as inputs. A
`.keras` file with this layer does not need the SavedModel.

The inference branch of the SavedModel is used (`training=False`). When the layer is trained, kernels
and scales move, dropout inside stays off, and batch norm keeps its stored statistics.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from tledge._process import optional_imports
from tledge.errors import MissingError, RecipeError, TledgeError
from tledge.models import graph_judgement, saved_model_judgement
from tledge.models.hub_download import FILES, resolve

LAYER = "features"
"""Name of the layer in a model."""

IMAGE, OUTPUT = "image", "features"
"""Names of the graph's input and output; its weights are `weight_0`, `weight_1` and so on."""

SIGNATURES = ("serving_default", "default", "image_feature_vector", "serve")
"""Signatures to look for where the SavedModel itself cannot be called, the best first."""


def build(handle: str, inputs: Any) -> Any:
    """Apply a SavedModel to a KerasTensor of images; return its features.

    The layer is named "features" and holds the SavedModel's weights.

    Args:
        handle: The SavedModel's folder, or a TF-Hub address `https://...`.
        inputs: A KerasTensor float32[N, H, W, 3] in the range that the SavedModel was trained on;
            image modules of TF-Hub take 0..1.

    Returns:
        float32[N, F], or float32[N, h, w, F] where the SavedModel ends in a feature map.

    Raises:
        MissingError: The SavedModel or TensorFlow is not on this machine.
        RecipeError: The SavedModel does not take such images, or is not a pure function of image and
            variables.
    """
    config, values = _take_apart(resolve(handle), tuple(inputs.shape[1:]))
    layer = _layer_class()(**config, name=LAYER)
    features = layer(inputs)
    for weight, value in zip(layer.values, values, strict=True):
        weight.assign(value)
    return features


def register() -> None:
    """Make the layer known to Keras; needed before `keras.models.load_model(..., safe_mode=True)`."""
    _layer_class()


def has_trainable_weights(layer: Any) -> bool:
    """Return whether a layer made by `build` has weights that its SavedModel lists as trainable."""
    return any(trainable for *_rest, trainable in layer.get_config()["variables"])


def _tensorflow() -> Any:
    """Return TensorFlow, which must be Keras' backend: the graph and its gradients are TensorFlow's."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise RecipeError(
            "a TF-Hub or SavedModel backbone runs on TensorFlow alone, and Keras runs on "
            f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow."
        )
    return optional_imports.load("tensorflow", "hub")


def _take_apart(folder: Path, shape: tuple[int, ...]) -> tuple[dict[str, Any], list[Any]]:
    """Return the layer config and the weights of a SavedModel, for images of `shape` (H, W, 3)."""
    tf = _tensorflow()
    loaded = _load(tf, folder)
    function = _trace(tf, folder, loaded, shape)
    constants, variables = _freeze(folder, function)
    graph, order = _pure_graph(tf, constants, set(variables))
    used = [variables[name] for name in order]
    if not used:
        raise RecipeError(f"{folder}: the SavedModel holds no variables (a frozen graph?): nothing to train.")
    if reason := graph_judgement.refusal(graph):
        raise RecipeError(
            f"{folder}: the SavedModel {reason}; expected a pure function of the image. Take another module, "
            "or export it without this operator."
        )
    # A reusable SavedModel lists its trainable variables; of others each variable says so itself.
    listed = getattr(loaded, "trainable_variables", function.trainable_variables)
    trainable = {id(variable) for variable in listed}
    rows = [
        [name, variable.shape.as_list(), variable.dtype.name, id(variable) in trainable]
        for name, variable in zip(_weight_names([variable.name for variable in used]), used, strict=True)
    ]
    config = {"graph": _as_text(graph), "variables": rows, "output_shape": _output_shape(tf, folder, graph)}
    return config, [variable.numpy() for variable in used]


def _load(tf: Any, folder: Path) -> Any:
    if (folder / "tfhub_module.pb").is_file():
        raise RecipeError(
            f"{folder}: a TF-Hub module in the format of TensorFlow 1, which does not train in "
            "TensorFlow 2. Take a newer version of the module, a TF2 SavedModel."
        )
    try:
        saved_model_judgement.require_data(folder, RecipeError)
        return tf.saved_model.load(str(folder))
    except TledgeError:
        raise
    except Exception as error:  # TensorFlow raises many classes for a damaged folder
        raise MissingError(
            f"{folder}: TensorFlow does not load it ({error}). Expected a complete SavedModel: {FILES}."
        ) from error


def _trace(tf: Any, folder: Path, loaded: Any, shape: tuple[int, ...]) -> Any:
    """Trace the SavedModel to a ConcreteFunction: image float32[N, H, W, 3] → features."""
    call, expected = _entry_point(folder, loaded)
    spec = tf.TensorSpec((None, *shape), tf.float32, IMAGE)
    function = tf.function(lambda image: _single_output(folder, call(image)), autograph=False)
    try:
        return function.get_concrete_function(spec)
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise RecipeError(
            f"{folder}: the SavedModel does not take float32 images of shape {spec.shape}; "
            f"it takes {', '.join(expected) or 'something else'}. Set [model] image_size accordingly."
        ) from error


def _entry_point(folder: Path, loaded: Any) -> tuple[Callable[[Any], Any], list[str]]:
    """Return the function to call with an image, and descriptions of the inputs that it takes."""
    if callable(loaded):
        import inspect

        takes_training = "training" in inspect.signature(loaded.__call__).parameters
        options = {"training": False} if takes_training else {}
        expected = [
            _describe_inputs(function) for function in getattr(loaded.__call__, "concrete_functions", [])
        ]
        return lambda image: loaded(image, **options), sorted(set(expected))
    name = next((name for name in SIGNATURES if name in loaded.signatures), None)
    if name is None:
        raise RecipeError(
            f"{folder}: the SavedModel can neither be called nor has a signature named "
            f"{', '.join(SIGNATURES)}; it has {sorted(loaded.signatures)}."
        )
    signature = loaded.signatures[name]
    key = next(iter(signature.structured_input_signature[1]))
    return lambda image: signature(**{key: image}), [_describe_inputs(signature)]


def _describe_inputs(function: Any) -> str:
    args, named = function.structured_input_signature
    tensors = [value for value in (*args, *named.values()) if hasattr(value, "shape")]
    return " and ".join(f"{tensor.dtype.name}{tensor.shape}" for tensor in tensors)


def _single_output(folder: Path, output: Any) -> Any:
    """Return the one tensor of an output; modules with several name the features "default"."""
    if isinstance(output, Mapping):
        tensors = [output["default"]] if "default" in output else list(output.values())
    else:
        tensors = list(output) if isinstance(output, (list, tuple)) else [output]
    if len(tensors) != 1:
        raise RecipeError(
            f"{folder}: the SavedModel gives {len(tensors)} outputs; expected one, the features."
        )
    return tensors[0]


def _freeze(folder: Path, function: Any) -> tuple[Any, dict[str, Any]]:
    """Return the function's GraphDef with constants for variables, and the variables by constant name."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    by_handle = {
        id(variable.handle): variable for variable in function.graph.variables if variable.dtype.is_floating
    }
    variables = {
        inner.op.name: by_handle[id(outer)]
        for outer, inner in function.graph.captures
        if id(outer) in by_handle
    }
    try:
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    except Exception as error:  # it raises KeyError, ValueError and more for resources it does not know
        raise RecipeError(f"{folder}: the SavedModel cannot be frozen ({error!r}).") from error
    graph = frozen.graph.as_graph_def()
    output = graph.node.add(op="Identity", name=OUTPUT, input=[frozen.outputs[0].name])
    output.attr["T"].type = frozen.outputs[0].dtype.as_datatype_enum
    return graph, variables


def _pure_graph(tf: Any, frozen: Any, variables: set[str]) -> tuple[Any, list[str]]:
    """Return the part of `frozen` that its output needs, with placeholders for `variables`; and their order.

    Names and order follow from the structure alone, because TensorFlow's own hold counters of the
    process. Control edges are removed, since nothing here has an effect. So are attributes with "_" in
    front: they hold shapes, devices and numbered Python gradients, which no other process knows;
    operators are differentiated by their own gradients instead.
    """
    nodes = {node.name: node for node in frozen.node}
    pure = tf.compat.v1.GraphDef(versions=frozen.versions)
    names: dict[str, str] = {}
    order: list[str] = []
    for name in _in_order(nodes, OUTPUT):
        node = pure.node.add()
        node.CopyFrom(nodes[name])
        if name in variables:
            names[name] = f"weight_{len(order)}"
            order.append(name)
            _become_placeholder(node)
        else:
            names[name] = name if name in (IMAGE, OUTPUT) else f"{node.op.lower()}_{len(names)}"
        _clean(node, names)
    return pure, order


def _in_order(nodes: Mapping[str, Any], output: str) -> list[str]:
    """Return the names of the nodes that `output` needs, each after those that it needs itself."""
    ordered, seen, waiting = [], set(), [(output, False)]
    while waiting:
        name, is_ready = waiting.pop()
        if is_ready:
            ordered.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            inputs = reversed(_data_inputs(nodes[name]))
            waiting.extend((edge.partition(":")[0], False) for edge in inputs)
    return ordered


def _data_inputs(node: Any) -> list[str]:
    return [edge for edge in node.input if not edge.startswith("^")]


def _become_placeholder(node: Any) -> None:
    value = node.attr["value"].tensor
    node.op = "Placeholder"  # of the constant's dtype and shape
    node.attr["shape"].shape.CopyFrom(value.tensor_shape)
    del node.attr["value"]


def _clean(node: Any, names: Mapping[str, str]) -> None:
    node.name = names[node.name]
    edges = [edge.partition(":") for edge in _data_inputs(node)]
    node.input[:] = [names[name] + colon + output for name, colon, output in edges]
    node.device = ""
    node.ClearField("experimental_debug_info")
    for key in [key for key in node.attr if key.startswith("_")]:
        del node.attr[key]


def _weight_names(originals: list[str]) -> list[str]:
    """Return weight names that Keras accepts, unique and readable: "Conv1/kernel:0" is Conv1_kernel."""
    names: list[str] = []
    for original in originals:
        plain = re.sub(r"\W+", "_", original.partition(":")[0]).strip("_") or "weight"
        choices = (f"{plain}_{number}" if number > 1 else plain for number in count(1))
        names.append(next(name for name in choices if name not in names))
    return names


def _output_shape(tf: Any, folder: Path, graph: Any) -> list[int | None]:
    """Return the features' shape, the batch as None; raise RecipeError unless it is float32[N, ..., F]."""
    with tf.Graph().as_default():
        (output,) = tf.graph_util.import_graph_def(graph, return_elements=[f"{OUTPUT}:0"])
    sides = output.shape.as_list()[1:] if output.shape.rank in (2, 4) else [None]
    if None in sides or output.dtype != tf.float32:
        raise RecipeError(
            f"{folder}: the SavedModel gives {output.dtype.name}{output.shape}; expected a feature "
            "vector float32[N, F] or a feature map float32[N, h, w, F] of known size."
        )
    return [None, *sides]


def _as_text(graph: Any) -> str:
    return base64.b64encode(zlib.compress(graph.SerializeToString(deterministic=True), 9)).decode()


@lru_cache(maxsize=8)
def _runner(text: str) -> Any:
    """Return the graph in `text` as a tf.function of an image batch and the list of its weights.

    It is cached here and not in the layers, because Keras and TensorFlow would track and save it.
    """
    tf = _tensorflow()
    graph = graph_judgement.read_graph(text)
    if reason := graph_judgement.refusal(graph):
        raise RecipeError(f"the saved layer's graph {reason}; it is refused.")

    def run(image: Any, weights: list[Any]) -> Any:
        feeds = {f"weight_{number}:0": weight for number, weight in enumerate(weights)}
        (features,) = tf.graph_util.import_graph_def(
            graph, input_map={f"{IMAGE}:0": image, **feeds}, return_elements=[f"{OUTPUT}:0"]
        )
        graph_judgement.require_size(features.graph, image)
        return features

    return tf.function(run, autograph=False, reduce_retracing=True)


@cache
def _layer_class() -> Any:
    """Return the layer's class, which is made once Keras can be imported."""
    keras = optional_imports.load("keras", "hub")

    @keras.saving.register_keras_serializable(package="tledge")
    class SavedModelFeatures(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """The graph of a SavedModel, float32[N, H, W, 3] → features, over Keras weights.

        `graph` is a compressed GraphDef as text, `variables` lists its weights as
        [name, shape, dtype, trainable] and `output_shape` has None for the batch.
        """

        def __init__(
            self, *, graph: str, variables: list[list[Any]], output_shape: list[int | None], **options: Any
        ) -> None:
            # The graph is float32, also in a network of mixed precision.
            super().__init__(**{**options, "dtype": "float32"})
            self._graph, self._variables, self._output_shape = graph, variables, tuple(output_shape)

        def build(self, input_shape: Any) -> None:
            del input_shape
            # Refuse an unsafe graph here: Keras would hide the message elsewhere.
            _runner(self._graph)
            self.values = [
                self.add_weight(tuple(shape), "zeros", dtype, trainable=trainable, name=name)
                for name, shape, dtype, trainable in self._variables
            ]

        def call(self, image: Any) -> Any:
            tf = _tensorflow()
            return _runner(self._graph)(image, [tf.convert_to_tensor(weight) for weight in self.values])

        def compute_output_shape(self, input_shape: Any) -> Any:
            return (input_shape[0], *self._output_shape[1:])

        def get_config(self) -> dict[str, Any]:
            own = {"graph": self._graph, "variables": self._variables, "output_shape": self._output_shape}
            return {**super().get_config(), **own}

    return SavedModelFeatures
