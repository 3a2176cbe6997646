"""The Keras model: backbone and head, what is trained in a stage, augmentation, saving.

The model takes RGB bytes as float32[N, H, W, 3] in 0..255 and scales them itself; artifacts
put a cast in front and take uint8. Layers are flat (no nested model), so that freezing, cutting
and correcting work on one list.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tledge import quiet, runs
from tledge.backbones import BACKBONES, Backbone
from tledge.contract import INPUT_NAME, OUTPUT_NAME
from tledge.errors import MissingError, RecipeError
from tledge.tables import Augment, Model, Stage

POOL = "pool"
"""Name of the pooling layer, the border between backbone and head."""


def build(table: Model, classes: int) -> Any:
    """A Keras model float32[N, H, W, 3] in 0..255 → probabilities float32[N, classes].

    Raises MissingError where ImageNet weights are not here and cannot be downloaded.
    """
    from keras import Input, Model, layers

    backbone = BACKBONES[table.backbone]
    inputs = Input((table.image_size, table.image_size, 3), dtype="float32", name=INPUT_NAME)
    scaled = layers.Rescaling(backbone.scale, backbone.offset, name="scale")(inputs)
    x = _backbone(backbone, table, scaled)
    x = layers.GlobalAveragePooling2D(name=POOL)(x)
    for number, units in enumerate(table.head, 1):
        x = layers.Dense(units, "relu", name=f"hidden_{number}")(x)
    # Drawn here and not by Keras, so that the saved model carries it.
    x = layers.Dropout(table.dropout, seed=random.randint(1, 10**9), name="dropout")(x)
    logits = layers.Dense(classes, name="logits")(x)
    return Model(inputs, layers.Softmax(name=OUTPUT_NAME)(logits), name=table.backbone)


def _backbone(backbone: Backbone, table: Model, scaled: Any) -> Any:
    """The backbone's feature map, with its weights loaded by Keras' own names and files."""
    import keras

    if table.weights in ("imagenet", "none"):
        weights = "imagenet" if table.weights == "imagenet" else None
        try:
            # Keras announces downloads on stdout, which belongs to results.
            with redirect_stdout(sys.stderr):
                return backbone.build(scaled, table.alpha, weights)
        except Exception as error:  # Keras wraps every failed download in a bare Exception
            raise _explained(error) from error
    features = backbone.build(scaled, table.alpha, None)
    path = Path(table.weights)
    if not path.is_file():
        raise MissingError(f"{path}: no such weights file ([model] weights).")
    try:
        keras.Model(scaled, features).load_weights(path)
    except (ValueError, OSError) as error:
        raise RecipeError(f"[model] weights {path}: not of this backbone ({error}).") from error
    return features


def _explained(error: Exception) -> Exception:
    """A failed download as MissingError with the file to put where; any other error as it is."""
    url = re.search(r"https?://\S+/([\w.%-]+\.(?:h5|keras))", str(error))
    if isinstance(error, ValueError):
        return RecipeError(f"[model] {error}")
    if not url:
        return error
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return MissingError(
        f"ImageNet weights are not on this machine and could not be downloaded. "
        f"Put {url.group(1)} into {home / 'models'}, or point KERAS_HOME at a folder whose "
        "models/ holds it."
    )


def set_trainable(model: Any, stage: Stage) -> int:
    """Make trainable what the stage says, and the head always; gives the number of frozen layers.

    Batch norm in "inference" mode is frozen wherever it lies in the backbone: in Keras a frozen
    batch norm uses its stored statistics.
    """
    border = _backbone_layers(model)
    start = first_trainable(model, stage)
    for number, layer in enumerate(model.layers):
        is_batch_norm = type(layer).__name__ == "BatchNormalization"
        keep = is_batch_norm and stage.batch_norm == "inference" and number < border
        layer.trainable = number >= start and not keep
        if is_batch_norm and stage.batch_norm_momentum:
            layer.momentum = stage.batch_norm_momentum
    return sum(not layer.trainable for layer in model.layers[:border])


def _backbone_layers(model: Any) -> int:
    """How many layers, from the input on, are the backbone's."""
    return [layer.name for layer in model.layers].index(POOL)


def first_trainable(model: Any, stage: Stage) -> int:
    """Number of the first layer that the stage trains; raises RecipeError for a name it lacks."""
    names = [layer.name for layer in model.layers[: _backbone_layers(model)]]
    if isinstance(stage.unfreeze, int):
        return max(0, len(names) - stage.unfreeze)
    if stage.unfreeze in ("none", "all"):
        return len(names) if stage.unfreeze == "none" else 0
    if stage.unfreeze not in names:
        import difflib

        near = difflib.get_close_matches(stage.unfreeze, names, 3)
        raise RecipeError(
            f"[[stage]] {stage.name}: unfreeze = {stage.unfreeze!r} is no layer of the backbone. "
            f"Nearest: {', '.join(near) or 'none'}. Or use none, all, or a count."
        )
    return names.index(stage.unfreeze)


def augmentation(table: Augment, seed: int) -> list[Any]:
    """Keras layers float32[N, H, W, 3] in 0..255 → the same, in a fixed order, seeded."""
    from keras import layers

    span = {"value_range": (0, 255)}
    move = {"fill_mode": table.fill}
    rows: list[tuple[Any, str, Any, dict[str, Any]]] = [
        (table.flip != "none", "RandomFlip", table.flip, {}),
        (table.rotation, "RandomRotation", table.rotation, move),
        (table.zoom, "RandomZoom", table.zoom, move),
        (table.translation, "RandomTranslation", table.translation, move),
        (table.perspective, "RandomPerspective", 1.0, {"scale": table.perspective}),
        (table.brightness, "RandomBrightness", table.brightness, span),
        (table.contrast, "RandomContrast", table.contrast, span),
        (table.saturation, "RandomSaturation", (0.5 - table.saturation, 0.5 + table.saturation), span),
        (table.hue, "RandomHue", table.hue, span),
        (table.grayscale, "RandomGrayscale", table.grayscale, {}),
        (table.erasing, "RandomErasing", table.erasing, span),
    ]
    made = []
    for number, (wanted, name, factor, options) in enumerate(rows):
        if wanted:
            made.append(_random_layer(layers, name, factor, options, seed + number))
    return made


def _random_layer(layers: Any, name: str, factor: Any, options: dict[str, Any], seed: int) -> Any:
    both = (factor, factor) if name == "RandomTranslation" else (factor,)
    return getattr(layers, name)(*both, seed=seed, **options)


def with_augmentation(model: Any, table: Augment, seed: int) -> Any:
    """The model to train: augmentation before the model. The model itself stays clean."""
    import keras

    extra = augmentation(table, seed)
    if not extra:
        return model
    inputs = keras.Input(model.input_shape[1:], dtype="float32")
    x = inputs
    for layer in extra:
        x = layer(x)
    return keras.Model(inputs, model(x), name="augmented")


def save(model: Any, path: Path) -> None:
    """Save as `.keras` whose bytes depend on architecture and weights alone.

    Keras writes the time of day into the archive and its metadata; both are fixed here. A copy
    without optimizer is saved: its state and name would tell how often training was resumed.
    """

    def undated(name: str, data: bytes) -> bytes:
        if name != "metadata.json":
            return data
        metadata = json.loads(data)
        metadata.pop("date_saved", None)
        return json.dumps(metadata, sort_keys=True).encode()

    plain = type(model).from_config(model.get_config())
    plain.set_weights(model.get_weights())
    with runs.replacing(path) as made:
        dated = made.with_name("dated.keras")
        plain.save(dated)
        runs.canonical_zip(dated, made, undated)


def load(path: Path) -> Any:
    """Load a `.keras` file in safe mode, without its optimizer; raises MissingError without Keras."""
    keras = quiet.load("keras", "export")
    return keras.models.load_model(path, compile=False, safe_mode=True)
