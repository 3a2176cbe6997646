"""Judge a `.keras` file as data, before Keras opens it: a model of somebody else is a program.

Keras' safe mode refuses Python code, but builds any class that Keras has, and reads what HDF5 leads to. Here
the archive holds three files of a plausible size, the configuration names only classes that tledge's models
are made of, and the weights are plain arrays that lie in the file itself.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tledge._io import decompression, file_guard, zip_guard
from tledge.errors import RunError
from tledge.models import graph_judgement

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

MAX_FILE, MAX_CONFIG = 2 << 30, 32 << 20
"""Bytes of a `.keras` file, and of the configuration in it: that of the largest backbone takes a megabyte."""

MAX_OBJECTS = 100_000
"""Groups and arrays of the weights, some per layer."""

_LAYERS = (
    "Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Conv2DTranspose "
    "Cropping2D Dense DepthwiseConv2D Dot Dropout ELU Flatten GaussianDropout GaussianNoise "
    "GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization Identity InputLayer "
    "LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum Multiply Normalization PReLU Permute "
    "ReLU RepeatVector Rescaling Reshape Resizing SeparableConv2D Softmax SpatialDropout2D Subtract "
    "UnitNormalization UpSampling2D ZeroPadding2D"
)
_INITIALIZERS = (
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal "
    "LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal "
    "VarianceScaling Zeros"
)
_OPERATIONS = "Add Divide Maximum Mean Minimum Multiply Relu Relu6 Sigmoid Subtract"

CLASSES: dict[str, frozenset[str]] = {
    "keras": frozenset({"DTypePolicy", "Functional"}),
    "keras.layers": frozenset(_LAYERS.split()),
    "keras.initializers": frozenset(_INITIALIZERS.split()),
    "keras.regularizers": frozenset({"L1", "L1L2", "L2"}),
    "keras.constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
    "keras.models": frozenset({"Functional"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.ops.numpy": frozenset(_OPERATIONS.split()),
    "keras.src.ops.nn": frozenset(_OPERATIONS.split()),
}
"""The classes that a configuration may name, by module: those of all backbones, and layers like them."""

OWN_LAYER = "SavedModelFeatures"
"""tledge's own layer, which is found by its registered name."""


def read(path: Path) -> bytes:
    """Read a `.keras` file and judge it; open what this returns, because a file can be exchanged.

    Raises:
        RunError: it is no regular file, damaged, or more than a model of tledge's; the message says why.
    """
    content = file_guard.read_bytes(path, limit=MAX_FILE)
    try:
        judge(content)
    except (ValueError, RecursionError, *zip_guard.DAMAGE) as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise RunError(
            f"{path}: refused, because {reason}. Train again, or get it again from its author."
        ) from error
    return content


def judge(content: bytes) -> None:
    """Raise ValueError, or an error of a damaged archive, unless this is a plain Keras model."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        zip_guard.check(archive.infolist())
        if {entry.filename for entry in archive.infolist()} != {CONFIG, METADATA, WEIGHTS}:
            raise ValueError(f"it holds other files than {CONFIG}, {METADATA} and {WEIGHTS}")
        decompression.read_member(archive, METADATA, MAX_CONFIG)
        config = json.loads(decompression.read_member(archive, CONFIG, MAX_CONFIG))
        _judge_config(config)
        limit = weights_limit(len(content))
        judge_weights(io.BytesIO(decompression.read_member(archive, WEIGHTS, limit)), limit)


def _judge_config(config: Any) -> None:
    """Raise ValueError where the configuration names a class that no model of tledge's is made of."""
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError(f"{CONFIG} describes no model")
    for entry in named_classes(config):
        module, name, registered = (entry.get(key) for key in ("module", "class_name", "registered_name"))
        is_own = name == OWN_LAYER and registered == f"tledge>{OWN_LAYER}"
        is_tensor = name == "__keras_tensor__" and not module
        if not (is_own or is_tensor or (_is_listed(module, name) and registered in (None, name))):
            shown = graph_judgement.plain(f"{module}.{name}")
            raise ValueError(f"its configuration names {shown}, which no model of tledge's is made of")


def _is_listed(module: Any, name: Any) -> bool:
    return isinstance(module, str) and isinstance(name, str) and name in CLASSES.get(module, ())


def named_classes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a configuration that names a class, without recursion."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "class_name" in part:
                yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def judge_weights_file(path: Path) -> None:
    """Raise ValueError unless a file of weights, `.h5` or `.keras`, holds plain arrays and nothing else."""
    if path.suffix.lower() == ".keras":
        try:
            judge(file_guard.read_bytes(path, follow=True, limit=MAX_FILE))
        except zip_guard.DAMAGE as error:
            raise ValueError(f"it is refused, because {error}") from error
    else:
        judge_weights(path, weights_limit(path.stat().st_size))


def weights_limit(size: int) -> int:
    """Return the bytes that the weights in a file of `size` bytes may fill: trained ones hardly shrink."""
    return zip_guard.SLACK + 16 * size


def judge_weights(stream: Any, limit: int) -> None:
    """Raise ValueError unless an HDF5 file holds plain arrays that lie in the file itself.

    Args:
        stream: the file, opened to read bytes, or its path.
        limit: the bytes that all arrays together may fill.
    """
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(stream, "r") as file:
            total = sum(_plain_bytes(name, array) for name, array in _arrays(file))
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"its weights are damaged ({error})") from error
    if total > limit:
        raise ValueError(f"its weights fill {total} bytes, more than {limit}")


def _arrays(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of an HDF5 file by name; raise ValueError for links that lead away or in circles."""
    import h5py

    waiting, seen = [("", file["/"])], 0
    places: set[int] = set()
    while waiting:
        path, group = waiting.pop()
        for name in group:
            seen += 1
            here = f"{path}/{name}"
            if seen > MAX_OBJECTS or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its weights lead elsewhere at {graph_judgement.plain(here)}")
            child = group[name]
            place = h5py.h5o.get_info(child.id).addr
            if place in places:
                raise ValueError(f"its weights hold {graph_judgement.plain(here)} twice")
            places.add(place)
            if isinstance(child, h5py.Group):
                waiting.append((here, child))
            else:
                yield here, child


def _plain_bytes(name: str, array: Any) -> int:
    """Return the bytes of an array; raise ValueError unless it holds numbers in the file itself."""
    import h5py

    shown = graph_judgement.plain(name)
    if not isinstance(array, h5py.Dataset):
        raise ValueError(f"its weights hold {shown}, which is no array")
    if array.external or array.is_virtual:
        raise ValueError(f"its weights take {shown} from another file")
    if array.dtype.hasobject or array.dtype.kind not in "fiubV":
        raise ValueError(f"its weights hold {shown}, which is no array of numbers")
    return int(array.nbytes)
