"""Read and write the independent images of a run: images beyond the test split, with Keras' predictions.

`evidence/independent.npz` holds validation images and images from outside the data set, which neither trained
the model nor chose its quantization, and the probabilities of Keras for them and for altered copies of the
test images. With it, `verify` decides on a device without TensorFlow. Runs of earlier versions have none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, npy
from tledge.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "evidence/independent.npz"
"""Where it lies in a run."""

VALIDATION, EXTRA = "validation", "extra"
"""Where an image comes from: the validation split, or a folder that the user named."""


@dataclass(frozen=True)
class IndependentImages:
    """Images beyond the test split, and Keras' probabilities for them and for copies of the test images.

    Attributes:
        images: uint8[M, H, W, 3].
        sources: `VALIDATION` or `EXTRA` for each image.
        probabilities: float32[M, classes] of Keras for the images.
        copies: float32[K, N, classes] of Keras for K altered copies of each of the N test images.
        copies_sha256: Hash of these copies' pixels, which are not kept: each machine makes them again.
        golden_sha256: Hash of the golden set that they belong to.
    """

    images: NDArray[np.uint8]
    sources: tuple[str, ...]
    probabilities: NDArray[np.float32]
    copies: NDArray[np.float32]
    copies_sha256: str
    golden_sha256: str


def sha256_of(images: NDArray[np.uint8]) -> str:
    """Hash the pixels of images, and how many there are."""
    import numpy as np

    return hashlib.sha256(repr(images.shape).encode() + np.ascontiguousarray(images).tobytes()).hexdigest()


def save(path: Path, independent: IndependentImages) -> None:
    """Write the file, reproducible byte for byte."""
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {
        "images": independent.images,
        "images_sha256": np.array(sha256_of(independent.images)),
        "sources": np.array(independent.sources, dtype="U10"),
        "probabilities": independent.probabilities,
        "copies": independent.copies,
        "copies_sha256": np.array(independent.copies_sha256),
        "golden_sha256": np.array(independent.golden_sha256),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as partial_file:
        npy.write_npz(partial_file, arrays)


def load(path: Path) -> IndependentImages:
    """Read the file; raise RunError where it is damaged, or its images are not those that Keras predicted."""
    what = "readable independent images"
    arrays = npy.read_npz(path, what)
    try:
        found = IndependentImages(
            images=arrays["images"],
            sources=tuple(str(source) for source in arrays["sources"]),
            probabilities=arrays["probabilities"],
            copies=arrays["copies"],
            copies_sha256=str(arrays["copies_sha256"]),
            golden_sha256=str(arrays["golden_sha256"]),
        )
        _require_fitting(found, str(arrays["images_sha256"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: no {what} ({error}). Remove it, and export again.") from error
    return found


def _require_fitting(found: IndependentImages, images_sha256: str) -> None:
    """Raise ValueError unless shapes and dtypes are those that `IndependentImages` describes."""
    images, probabilities, copies = found.images, found.probabilities, found.copies
    count = len(found.sources)
    if images.dtype != "uint8" or images.ndim != 4 or images.shape[3] != 3 or len(images) != count:
        raise ValueError(f"images are {images.dtype}{list(images.shape)}, expected uint8[{count}, H, W, 3]")
    if sha256_of(images) != images_sha256:
        raise ValueError("the images changed after Keras predicted them")
    if probabilities.dtype.kind != "f" or probabilities.ndim != 2 or len(probabilities) != count:
        raise ValueError(f"probabilities are {probabilities.dtype}{list(probabilities.shape)}")
    if copies.dtype.kind != "f" or copies.ndim != 3 or copies.shape[2] != probabilities.shape[1]:
        raise ValueError(f"copies are {copies.dtype}{list(copies.shape)}")
