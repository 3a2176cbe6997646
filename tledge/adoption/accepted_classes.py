"""Judge the configuration of somebody else's Keras model as data, before anything is built of it.

More is accepted here than in a `.keras` file of a run (`models.keras_file`), because adopting takes these
parts out or replaces them: nested models, random layers, preprocessing in the form of operations.
"""

from __future__ import annotations

from typing import Any

from tledge.errors import ArtifactError
from tledge.models import keras_file

_RANDOM = (
    "AlphaDropout AugMix CutMix GaussianDropout GaussianNoise MixUp RandAugment RandomBrightness "
    "RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform RandomErasing "
    "RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert RandomPerspective "
    "RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation "
    "RandomWidth RandomZoom ActivityRegularization SpatialDropout1D"
)
RANDOM = frozenset(_RANDOM.split())
"""Layers that do nothing while predicting, and would stay in the graph: they are taken out."""

INERT = frozenset({"ActivityRegularization", "AlphaDropout", "GaussianDropout", "SpatialDropout1D"})
"""Those of them that are dropouts or losses: leaving them out is not worth a word."""

OPERATION_OF_TENSORFLOW = "TFOpLambda"
"""A layer of Keras 2 that names an operation; the reader of that format judges which one."""

MODELS = frozenset({"Functional", "Model", "Sequential"})

LAYERS = keras_file.CLASSES["keras.layers"] | RANDOM | MODELS
"""Layers that a configuration may name."""

_OPERATIONS = (
    "Absolute Add Cast Clip Concatenate Divide ExpandDims Flip GetItem HardSigmoid HardSwish Max Maximum "
    "Mean Minimum Multiply Negative Pad Relu Relu6 Reshape Sigmoid Silu Softmax Sqrt Square Squeeze Stack "
    "Subtract Sum Tanh Transpose TrueDivide"
)
OPERATIONS = frozenset(_OPERATIONS.split())
"""Operations that a configuration may name; most are preprocessing, which becomes one Rescaling."""

MARKS = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__", "__tuple__"})
"""Class names of plain values in the arguments of operations."""

SERIALIZED = ("keras.initializers", "keras.regularizers", "keras.constraints")

ADVICE = (
    "Save the graph instead of the Python code, with model.export('folder') of Keras 3 or "
    "tf.saved_model.save, and adopt that folder"
)


def require(config: Any, where: str) -> None:
    """Raise ArtifactError, with the name and what would help, where a configuration names other classes."""
    if not isinstance(config, dict) or "class_name" not in config:
        raise ArtifactError(f"{where}: it describes no model.")
    for entry in keras_file.named_classes(config):
        _require_class(entry, where)


def _require_class(entry: dict[str, Any], where: str) -> None:
    module, name, registered = (entry.get(key) for key in ("module", "class_name", "registered_name"))
    shown = f"{name!r}"[:80]
    if name == "Lambda":
        layer = entry.get("config", {}).get("name", "lambda") if isinstance(entry.get("config"), dict) else ""
        raise ArtifactError(
            f"{where}: the layer {layer!r} is a Lambda: Python code of somebody else, which is not run. "
            f"{ADVICE}; or use a Rescaling layer, if it only scales the photo."
        )
    if not isinstance(name, str):
        raise ArtifactError(f"{where}: it names a class {shown}, which is no text.")
    if name in MARKS or _is_accepted(module, name):
        return
    if (isinstance(registered, str) and ">" in registered) or not _is_of_keras(module):
        raise ArtifactError(
            f"{where}: {shown} is a class of somebody's own, whose Python code is not run. {ADVICE}."
        )
    raise ArtifactError(f"{where}: it holds {shown}, which tledge does not know. {ADVICE}.")


def _is_of_keras(module: Any) -> bool:
    return module is None or str(module).split(".")[0] in ("keras", "tensorflow", "tf_keras", "builtins")


def _is_accepted(module: Any, name: str) -> bool:
    if module is None:  # Keras 2 writes class names alone
        return name == OPERATION_OF_TENSORFLOW or any(
            name in names for names in (*keras_file.CLASSES.values(), LAYERS)
        )
    if not isinstance(module, str) or not _is_of_keras(module):
        return False
    if module.startswith("keras.src.ops"):
        return name in OPERATIONS
    if module in SERIALIZED or module == "keras":
        return name in keras_file.CLASSES.get(module, ()) or name in MODELS
    return name in LAYERS or name == OPERATION_OF_TENSORFLOW
