"""Build, load and save the Keras model: backbone and head, and which of its layers a stage trains.

The model takes RGB bytes as float32[N, H, W, 3] in 0..255 and scales them itself; artifacts
put a cast in front and take uint8. Layers are flat (no nested model), so that freezing, cutting
and bias correction work on one list.

`config.Model` is the recipe's [model] table, called `table` here; a network is a `keras.Model`.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import config
from tledge._io import atomic, files, ownership
from tledge._process import limited_child, native_output, optional_imports, processors
from tledge._process.ordered_map import in_order
from tledge.config import Stage
from tledge.contract import INPUT_NAME, OUTPUT_NAME
from tledge.errors import MissingError, RecipeError, RunError, TledgeError
from tledge.models import keras_file, saved_model_layer
from tledge.models.backbones import ADOPTED, BACKBONES, Backbone, Values, split_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POOL = "pool"
"""Name of the pooling layer, which comes between backbone and head."""

PAIR = "pair"
"""Name of the fixed layer that turns one logit into two."""

LOADING_MEMORY, MEMORY_PER_PROCESSOR = 8 << 30, 512 << 20
"""Bytes of address space that Keras may take to open a file, in addition to eight times its size; native
threads map much of it unused."""

HUB_RANGE = (0.0, 1.0)
"""The range of pixels that image modules of TensorFlow Hub take."""


def build(table: config.Model, classes: int) -> Any:
    """Build a `keras.Model` float32[N, H, W, 3] in 0..255 → probabilities float32[N, classes].

    Under a mixed dtype policy the ends stay float32: scaled bytes, logits and probabilities would
    lose digits.

    Args:
        table: The recipe's [model] table.
        classes: The number of classes.

    Raises:
        MissingError: ImageNet weights are not on this machine and cannot be downloaded.
        RecipeError: The binary loss is asked for other than two classes, or the weights do not fit.
    """
    import keras
    from keras import layers

    if table.backbone == ADOPTED:
        raise RecipeError(
            '[model] backbone = "adopted": the model was trained elsewhere, and tledge does not train it. '
            "For a model of your own, type: tledge init PHOTOS"
        )
    if table.loss == "binary" and classes != 2:
        raise RecipeError(f'[model] loss = "binary" is for two classes, the photos have {classes}.')
    name, _ = split_name(table.backbone)
    backbone = BACKBONES[name]
    inputs = keras.Input((table.image_size, table.image_size, 3), dtype="float32", name=INPUT_NAME)
    scale, offset = _scaling(backbone, table)
    scaled = layers.Rescaling(scale, offset, dtype="float32", name="scale")(inputs)
    logits = _head(_pooled(_backbone(backbone, table, inputs, scaled)), table, classes)
    return keras.Model(inputs, layers.Softmax(dtype="float32", name=OUTPUT_NAME)(logits), name=name)


def _scaling(backbone: Backbone, table: config.Model) -> tuple[Any, Any]:
    """Return the scale and the offset that map bytes to what the backbone takes."""
    if split_name(table.backbone)[0] != "hub":
        return _as_in_config(backbone.scale), _as_in_config(backbone.offset)
    low, high = table.input_range or HUB_RANGE
    return (high - low) / 255, low


def _as_in_config(values: Values) -> float | list[float]:
    """Return values as Keras writes them into a model's configuration: a tuple would come back as a list."""
    return list(values) if isinstance(values, tuple) else values


def _pooled(features: Any) -> Any:
    """Return a feature vector [N, F]; a backbone that pools its own features is left as it is."""
    from keras import layers

    is_map = len(features.shape) == 4
    return (layers.GlobalAveragePooling2D if is_map else layers.Identity)(name=POOL)(features)


def _head(x: Any, table: config.Model, classes: int) -> Any:
    """Return logits [N, classes] from pooled features; one logit z becomes the pair (-z/2, z/2).

    The softmax of the pair is (1 - sigmoid(z), sigmoid(z)), so every model has the same kind of output.
    """
    from keras import layers

    if table.head_batch_norm:
        x = layers.BatchNormalization(name="head_BN")(x)
    for number, units in enumerate(table.head, 1):
        x = layers.Dense(units, "relu", name=f"hidden_{number}")(x)
    # The seed is drawn here and not by Keras, so that the saved model holds it.
    x = layers.Dropout(table.dropout, seed=random.randint(1, 10**9), name="dropout")(x)
    if table.loss == "categorical":
        return layers.Dense(classes, dtype="float32", name="logits")(x)
    pair = layers.Dense(2, use_bias=False, trainable=False, dtype="float32", name=PAIR)
    logits = pair(layers.Dense(1, dtype="float32", name="logits")(x))
    pair.kernel.assign([[-0.5, 0.5]])
    return logits


def _backbone(backbone: Backbone, table: config.Model, inputs: Any, scaled: Any) -> Any:
    """Return the backbone's feature map, with its weights loaded by Keras' own names and files."""
    import keras

    weights = "imagenet" if table.weights == "imagenet" and backbone.pretrained else None
    if weights:
        _require_own_weights()
    try:
        # Keras reports downloads on stdout, which is for results.
        with native_output.announcements_redirected():
            features = backbone.build(scaled, table, weights)
    except TledgeError:
        raise
    except Exception as error:  # Keras wraps every failed download in a plain Exception
        raise _build_error(error) from error
    # From the network's own input: a model of a part would be a copy on the same layers.
    base = keras.Model(inputs, features)
    if table.weights not in ("imagenet", "none"):
        _load_weights(base, Path(table.weights))
    if backbone.bgr and table.weights != "none":
        _to_rgb(base)
    return features


def _load_weights(base: Any, path: Path) -> None:
    if not path.is_file():
        raise MissingError(f"{path}: no such weights file ([model] weights).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of what it then refuses
            keras_file.judge_weights_file(path)
            with _lower_ending(path) as weights:
                base.load_weights(weights)
    except (ValueError, OSError) as error:
        raise RecipeError(f"[model] weights {path}: not of this backbone ({error}).") from error


@contextmanager
def _lower_ending(path: Path) -> Iterator[Path]:
    """Yield the path of a weights file under a name that Keras recognizes: it compares endings by case."""
    if path.name.endswith(".h5"):
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(shutil.copyfile(path, Path(scratch) / path.name.lower()))


def _to_rgb(base: Any) -> None:
    """Turn the first kernel [h, w, 3, out] from blue, green, red to red, green, blue."""
    first = next(layer for layer in base.layers if type(layer).__name__ == "Conv2D")
    weights = first.get_weights()
    first.set_weights([weights[0][:, :, ::-1, :], *weights[1:]])


def _keras_home() -> Path:
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")))


def _require_own_weights() -> None:
    """Raise ResourceError where another account could exchange downloaded weights; Keras knows few hashes.

    Where Keras may not write into its own folder, it silently uses one in /tmp that any account can make.
    """
    home = _keras_home()
    if not os.access(home, os.W_OK):
        home = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), ".keras")
    folder = home / "models"
    files = list(folder.iterdir()) if folder.is_dir() else []
    for path in (folder, *files):
        ownership.require_own(path, "the weights in it", "set KERAS_HOME to a folder of your own")


def _build_error(error: Exception) -> Exception:
    """Return a failed download as MissingError with the file to put where; other errors as they are."""
    url = re.search(r"https?://\S+/([\w.%-]+\.(?:h5|keras))", str(error))
    if isinstance(error, ValueError):
        return RecipeError(f"[model] {error}")
    if not url:
        return error
    home = _keras_home()
    return MissingError(
        f"ImageNet weights are not on this machine and could not be downloaded. "
        f"Put {url.group(1)} into {home / 'models'}, or point KERAS_HOME at a folder whose "
        "models/ holds it."
    )


def set_trainable(model: Any, stage: Stage) -> int:
    """Make the layers trainable that the stage trains, and the head; return how many are frozen.

    Batch norm in "inference" mode is frozen anywhere in the backbone: in Keras a frozen batch norm
    uses its stored statistics.

    Raises:
        RecipeError: The stage names a layer that the backbone does not have.
    """
    backbone_layers = _backbone_layers(model)
    start = first_trainable(model, stage)
    for number, layer in enumerate(model.layers):
        is_batch_norm = type(layer).__name__ == "BatchNormalization"
        is_frozen = is_batch_norm and stage.batch_norm == "inference" and number < backbone_layers
        layer.trainable = number >= start and not is_frozen and layer.name != PAIR
        if is_batch_norm and stage.batch_norm_momentum:
            layer.momentum = stage.batch_norm_momentum
    return sum(not layer.trainable for layer in model.layers[:backbone_layers])


def _backbone_layers(model: Any) -> int:
    """Count the layers of the backbone, which come first."""
    return [layer.name for layer in model.layers].index(POOL)


def first_trainable(model: Any, stage: Stage) -> int:
    """Return the number of the first layer that the stage trains.

    Raises:
        RecipeError: The stage names a layer that the backbone does not have, or a SavedModel without
            trainable variables.
    """
    names = [layer.name for layer in model.layers[: _backbone_layers(model)]]
    if (
        stage.unfreeze != "none"
        and saved_model_layer.LAYER in names
        and not saved_model_layer.has_trainable_weights(model.get_layer(saved_model_layer.LAYER))
    ):
        raise RecipeError(
            f"[[stage]] {stage.name}: the SavedModel has no variables that train; it was exported frozen. "
            'Set unfreeze = "none", or take another.'
        )
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


def predict_batches(net: Any, batches: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
    """Predict batches [N, H, W, 3] of bytes; yield the network's outputs float32[N, ...] in their order.

    On TensorFlow every processor predicts a batch of its own, because small networks do not use several;
    the outputs are the same. A shorter batch is filled up with its own images: for another shape the
    network would be traced again.
    """
    import keras
    import numpy as np

    rest = iter(batches)
    first = next(rest, None)
    if first is None:
        return

    def predict(batch: NDArray[Any]) -> NDArray[np.float32]:
        full = batch if len(batch) >= len(first) else np.resize(batch, first.shape)
        return np.asarray(net.predict_on_batch(full.astype(np.float32)), np.float32)[: len(batch)]

    yield predict(first)  # this traces the function that the threads share
    threads = processors.usable() if keras.backend.backend() == "tensorflow" else 1
    yield from in_order(predict, rest, threads, threads + 1)


def save(model: Any, path: Path) -> None:
    """Save a reproducible `.keras` file: its bytes depend on architecture and weights alone.

    Keras writes the current time into the archive and its metadata; both are fixed here. A copy
    without optimizer is saved, because the optimizer's state and name depend on how often training was
    resumed.
    """

    def without_date(name: str, data: bytes) -> bytes:
        if name != "metadata.json":
            return data
        metadata = json.loads(data)
        metadata.pop("date_saved", None)
        return json.dumps(metadata, sort_keys=True).encode()

    plain = copy(model)
    with atomic.replacing(path) as unfinished:
        dated = unfinished.with_name("dated.keras")
        with _temporary_folders_in(unfinished.parent):
            plain.save(dated)
        files.canonical_zip(dated, unfinished, without_date)


@contextmanager
def _temporary_folders_in(folder: Path) -> Iterator[None]:
    """Create temporary folders in `folder` for a block: Keras leaves its own behind when saving fails."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def copy(net: Any) -> Any:
    """Return a network of the same layers with variables of its own, and no optimizer."""
    copied = type(net).from_config(net.get_config())
    copied.set_weights(net.get_weights())
    return copied


def load(path: Path) -> Any:
    """Load a `.keras` file that may be somebody else's, without its optimizer.

    The file is read once and judged as data (`keras_file`). Keras then opens a copy of what was judged, in
    safe mode, and within a limit of memory: a file of a few lines can describe layers of any size. Whoever
    cannot bear a crash of native code calls this in another process, as export and preview do.

    Raises:
        MissingError: Keras is not installed.
        RunError: The file is damaged or refused.
    """
    keras = optional_imports.load("keras", "export")
    content = keras_file.read(path)
    saved_model_layer.register()
    try:
        with tempfile.TemporaryDirectory(prefix="tledge-") as folder, limited_child.memory(_memory(content)):
            copied = Path(folder) / "model.keras"
            copied.write_bytes(content)
            return keras.models.load_model(copied, compile=False, safe_mode=True)
    except TledgeError as error:
        raise RunError(f"{path}: {error}") from error
    except Exception as error:  # Keras, h5py and zipfile each raise classes of their own
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{path}: Keras does not load it ({reason or repr(error)}). Train again.") from error


def _memory(content: bytes) -> int:
    """Return the bytes of address space that opening a file may take in addition to what is in use."""
    return LOADING_MEMORY + MEMORY_PER_PROCESSOR * processors.in_machine() + 8 * len(content)
