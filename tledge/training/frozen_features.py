"""Cache the outputs of a network's frozen layers: they are the same in every epoch of a stage.

The network is cut at the last single tensor before everything that trains or is random. The values
of that tensor for every image (pooled features for a frozen base, a feature map where the top of the
base is trained too) are written to a file, and the stage trains the rest of the network on them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import array_file, atomic, files, npy
from tledge.config import Stage
from tledge.data.streaming import Images, in_batches
from tledge.models import augmentation, classifier
from tledge.progress import SILENT, Progress, track
from tledge.training import multi_host
from tledge.training.batches import Examples
from tledge.training.session import StageInput, TrainingSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 32

VERSION = 1
"""Increase it when the same front computes other outputs."""


@dataclass(frozen=True)
class Cut:
    """A model in two: the output of `front` is the input of `rest`. Both share the model's layers."""

    front: Any
    rest: Any

    @property
    def width(self) -> int:
        """The number of values between the two for one image."""
        import numpy as np

        return int(np.prod(self.front.output_shape[1:]))


def cut(net: Any) -> Cut | None:
    """Cut a model where nothing before trains or is random; return None where that saves nothing."""
    import keras

    layers = net.operations  # in the order of computing; `layers` leaves out bare operations
    active = next((number for number, layer in enumerate(layers) if _is_active(layer)), len(layers))
    crossings = ((number, _crossing(layers, number)) for number in reversed(range(active)))
    last, tensor = next((crossing for crossing in crossings if crossing[1] is not None), (-1, None))
    if not any(_weights(layer) for layer in layers[: last + 1]):
        return None
    # Names of our own, which are part of the key: Keras' names depend on what was built before.
    front = keras.Model(net.input, tensor, name="front")
    return Cut(front, keras.Model(tensor, net.output, name="rest"))


def _is_active(layer: Any) -> bool:
    """Return whether a layer's output changes from step to step."""
    is_random = hasattr(layer, "seed_generator") and getattr(layer, "rate", 1.0) > 0
    return bool(_weights(layer, "trainable_weights") or is_random)


def _weights(layer: Any, attribute: str = "weights") -> list[Any]:
    """Return the weights of a layer; a bare operation has none."""
    return getattr(layer, attribute, [])


def _crossing(layers: Sequence[Any], number: int) -> Any | None:
    """Return the one tensor that leads from layers[: number + 1] to the others; None if there are more."""
    before = {id(layer.output): layer.output for layer in layers[: number + 1]}
    used = {id(tensor) for layer in layers[number + 1 :] for tensor in _inputs(layer) if id(tensor) in before}
    return before[used.pop()] if len(used) == 1 else None


def _inputs(layer: Any) -> list[Any]:
    tensors = layer.input
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def key(front: Any, *parts: object) -> str:
    """Return the name of a cache of the front's outputs.

    It changes with the front's structure and weights, with the backend and devices, and with `parts`.
    """
    import keras

    config = json.dumps(front.get_config(), sort_keys=True, default=str)
    config = re.sub(r'"trainable": (true|false)', "", config)  # does not change the output
    machine = (VERSION, keras.__version__, keras.backend.backend(), keras.distribution.list_devices())
    digest = hashlib.sha256(repr((config, machine, parts)).encode())
    for weight in front.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()[:24]


def outputs(
    front: Any,
    images: Sequence[Images] | NDArray[Any],
    rows: NDArray[np.int64],
    path: Path,
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """Return the front's outputs float32[copies, rows, ...], which are read from `path`.

    A file that matches the SHA-256 beside it is used as it is; any other is computed again.

    Args:
        front: The network's frozen part.
        images: uint8[copies, N, H, W, 3].
        rows: Which of the N images.
        path: The file that keeps the outputs.
        progress: Receives how far the computation is.
    """
    import numpy as np

    digest_path = path.with_suffix(".sha256")
    if not _is_intact(path, digest_path):
        shape = (len(images), len(rows), *front.output_shape[1:])
        with atomic.replacing(path) as unfinished:
            _compute(front, images, rows, npy.create_array(unfinished, np.float32, shape), progress)
        files.write_text(digest_path, files.sha256(path))
    features: NDArray[np.float32] = array_file.open_array(path)
    return features


def _is_intact(path: Path, digest_path: Path) -> bool:
    if not path.is_file() or not digest_path.is_file():
        return False
    return digest_path.read_text(encoding="utf-8") == files.sha256(path)


def _compute(
    front: Any,
    images: Sequence[Images] | NDArray[Any],
    rows: NDArray[np.int64],
    out: NDArray[np.float32],
    progress: Progress,
) -> None:
    """Fill `out` with the front's outputs for every copy of the images."""
    per_copy = math.ceil(len(rows) / BATCH)
    batches = (
        batch
        for copy in range(len(images))
        for batch in in_batches(array_file.part_of(images, copy), rows, BATCH)
    )
    tracked = track(
        progress, classifier.predict_batches(front, batches), "frozen layers", len(images) * per_copy
    )
    for number, features in enumerate(tracked):
        copy, batch_number = divmod(number, per_copy)
        out[copy, batch_number * BATCH :][: len(features)] = features
    out.flush()  # type: ignore[attr-defined]


def stage_input(session: TrainingSession, stage: Stage) -> StageInput:
    """Return the network on pixels, or its trainable part on frozen features where these are worth it.

    On several hosts each computes all frozen features, and all hosts do so or none.
    """
    table = session.recipe.augment
    draws_anew = not table.is_off and not table.views
    halves = None if draws_anew or stage.mixup or not stage.reuse_frozen else cut(session.core)
    if halves is None or not multi_host.true_in_all(session.hosts, _is_worth(session, halves)):
        network = session.core
        if draws_anew:
            network = augmentation.with_augmentation(network, table, session.seed)
        return StageInput(stage, network, session.examples["train"], session.examples["validation"])
    train = _with_features(session, halves, session.examples["train"])
    validation = _with_features(session, halves, session.examples["validation"])
    return StageInput(stage, halves.rest, train, validation)


def _is_worth(session: TrainingSession, halves: Cut) -> bool:
    """Whether the features of an image are no more values than its pixels, and the disk holds them."""
    train = session.examples["train"]
    images = sum(len(part.rows) * _copies(part) for part in session.examples.values())
    disk = session.prepared.folder if _is_lasting(session, halves, train) else session.folder.path
    wanted, free = 4 * halves.width * images, shutil.disk_usage(disk).free
    if halves.width > math.prod(train.images.shape[1:]):
        return False
    if wanted > free:
        session.progress.say(
            f"caching the frozen features takes {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: they "
            "are computed again in every epoch"
        )
    return wanted <= free


def _copies(part: Examples) -> int:
    """Return how often the front sees an image."""
    return 1 if part.copies is None else len(part.copies)


def _with_features(session: TrainingSession, halves: Cut, part: Examples) -> Examples:
    """Return the same examples with the front's outputs in place of pixels.

    Vectors of the images themselves are small and serve other runs too: they are kept beside the
    prepared images. Feature maps, and the features of augmentation copies, go with the run's checkpoints.
    """
    import numpy as np

    name = key(halves.front, session.prepared.folder.name, part.rows.tobytes(), part.copies_sha256)
    folder = session.prepared.folder if _is_lasting(session, halves, part) else session.folder.checkpoints
    path = folder / "features" / f"{name}.npy"
    if part.copies is None:
        features = outputs(halves.front, [part.images], part.rows, path, session.progress)
    else:
        features = outputs(halves.front, part.copies, np.arange(len(part.rows)), path, session.progress)
    return replace(part, copies=features)


def _is_lasting(session: TrainingSession, halves: Cut, part: Examples) -> bool:
    """Whether the features of a part are kept beside the prepared images."""
    are_vectors = part.copies is None and len(halves.front.output_shape) == 2
    return are_vectors and os.access(session.prepared.folder, os.W_OK)
