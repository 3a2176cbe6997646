"""Read and write the golden set: the predictions of Keras right after training, used by every comparison.

`golden.npz` of a run holds the preprocessed test images, their labels, the probabilities of Keras, and its
probabilities for input that is wrong in known ways (`FAULTS`). An artifact that predicts the same as Keras
does on wrong input has that fault, so verification can name the cause and not only the symptom.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io.npy import read_npz, write_npz
from tledge.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 1 << 29
"""Largest size of the preprocessed images; above it, a stratified part of the test split is kept."""

FAULT_IMAGES = 64
"""Number of images for which the predictions on wrong input are computed; enough to tell faults apart."""


@dataclass(frozen=True)
class Fault:
    """A known mistake: its name, and how it changes the float32 pixel values that reach the model."""

    name: str
    message: str
    apply: Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _swap_channels(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images[..., ::-1]


def _scale_to_one(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images / 255.0


def _scale_around_zero(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images / 127.5 - 1.0


FAULTS = (
    Fault("channels-swapped", "it sees BGR instead of RGB: the colour channels are swapped", _swap_channels),
    Fault(
        "scaled-twice-to-one",
        "pixels are scaled twice: something divides by 255 before the model's own scaling",
        _scale_to_one,
    ),
    Fault(
        "scaled-twice-around-zero",
        "pixels are scaled twice: something maps to [-1, 1] before the model's own scaling",
        _scale_around_zero,
    ),
)


@dataclass(frozen=True)
class Golden:
    """images uint8[N, H, W, 3], labels int64[N], probabilities float32[N, classes], ids[N].

    `faults` maps a fault's name to the probabilities float32[M, classes] of Keras for the
    first M images with that fault.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    ids: tuple[str, ...]
    faults: dict[str, NDArray[np.float32]]


def save(path: Path, golden: Golden) -> None:
    """Write `golden.npz`."""
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {
        "images": golden.images,
        "labels": golden.labels,
        "probabilities": golden.probabilities,
        "ids": np.array(golden.ids),
        **{f"fault.{name}": values for name, values in golden.faults.items()},
    }
    write_npz(path, arrays)


def load(path: Path) -> Golden:
    """Read `golden.npz`; raise RunError if it is missing or damaged, or if its arrays do not fit together."""
    what = "readable golden set"
    arrays = read_npz(path, what)
    try:
        golden = Golden(
            images=arrays["images"],
            labels=arrays["labels"],
            probabilities=arrays["probabilities"],
            ids=tuple(str(image_id) for image_id in arrays["ids"]),
            faults={
                name.removeprefix("fault."): values
                for name, values in arrays.items()
                if name.startswith("fault.")
            },
        )
        _require_fitting(golden)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: no {what} ({error}). Train again.") from error
    return golden


def fingerprint(golden: Golden) -> str:
    """Hash what Keras predicted for which images; pixels are left out, because they can take 512 MiB."""
    hashed = hashlib.sha256("\n".join(golden.ids).encode())
    for values in (golden.labels, golden.probabilities):
        hashed.update(repr((str(values.dtype), values.shape)).encode() + values.tobytes())
    return hashed.hexdigest()


def _require_fitting(golden: Golden) -> None:
    """Raise ValueError unless shapes and dtypes are those that `Golden` describes, for at least one image."""
    images, labels, probabilities = golden.images, golden.labels, golden.probabilities
    if images.dtype != "uint8" or images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise ValueError(f"images are {images.dtype}{list(images.shape)}, expected uint8[N, H, W, 3]")
    count = len(images)
    if probabilities.dtype.kind != "f" or probabilities.ndim != 2 or len(probabilities) != count:
        found = f"{probabilities.dtype}{list(probabilities.shape)}"
        raise ValueError(f"probabilities are {found}, expected float32[{count}, classes]")
    classes = probabilities.shape[1]
    if labels.dtype.kind not in "iu" or labels.shape != (count,) or not _are_below(labels, classes):
        raise ValueError(f"labels are no {count} numbers from 0 to {classes - 1}")
    if len(golden.ids) != count:
        raise ValueError(f"{len(golden.ids)} ids for {count} images")
    for name, values in golden.faults.items():
        if values.dtype.kind != "f" or values.ndim != 2 or values.shape[1] != classes or len(values) > count:
            raise ValueError(f"fault.{name} is {values.dtype}{list(values.shape)}")


def _are_below(labels: NDArray[np.int64], classes: int) -> bool:
    return bool((labels >= 0).all() and (labels < classes).all())
