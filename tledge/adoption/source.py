"""Open a model of any accepted kind as a Keras model, in the process that may be damaged by it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tledge._io import file_guard
from tledge.adoption import keras_reader
from tledge.errors import ArtifactError, RecipeError
from tledge.models import keras_file

HDF5, ZIP, PICKLES = b"\x89HDF", b"PK\x03\x04", (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

OTHERS = {
    ".pt": "a PyTorch file, which is a pickle: opening it runs code of its author",
    ".pth": "a PyTorch file, which is a pickle: opening it runs code of its author",
    ".ckpt": "a checkpoint, which is a pickle or holds weights without their model",
    ".pkl": "a pickle: opening it runs code of its author",
    ".pickle": "a pickle: opening it runs code of its author",
    ".joblib": "a pickle: opening it runs code of its author",
    ".tflite": "a converted model without its Keras model",
    ".onnx": "a converted model without its Keras model",
}
"""Files that are not adopted, by ending, and why."""

EXPECTED = (
    "Expected a `.keras` file, a Keras 2 `.h5` file, a SavedModel folder, or a zip of Teachable Machine with "
    "one of these"
)


@dataclass(frozen=True)
class OpenedModel:
    """A Keras model as it was opened, the framework that wrote it, and its version ("" where unknown)."""

    model: Any
    framework: str
    version: str = ""


def open_source(path: Path, size: tuple[int, int] | None) -> OpenedModel:
    """Open a model file or folder.

    Args:
        path: The file, or the folder of a SavedModel.
        size: Height and width of the photos, which a SavedModel may leave open.

    Raises:
        ArtifactError: it is damaged or holds code.
        RecipeError: it is of another kind; the message says what helps.
    """
    if path.is_dir():
        from tledge.adoption import saved_models

        return OpenedModel(saved_models.open_model(path, size), "TensorFlow SavedModel")
    content = file_guard.read_bytes(path, follow=True, limit=keras_file.MAX_FILE, error=ArtifactError)
    refuse_others(path, content)
    if content.startswith(HDF5):
        from tledge.adoption import hdf5_reader

        return OpenedModel(*hdf5_reader.open_model(content, str(path)))
    version = str(keras_reader.read_metadata(content).get("keras_version", ""))[:40]
    return OpenedModel(keras_reader.open_model(content, str(path)), "Keras 3", version)


def refuse_others(path: Path, content: bytes) -> None:
    """Raise RecipeError for a file that is neither `.keras` nor HDF5, and say what would help."""
    ending = path.suffix.lower()
    reason = OTHERS.get(ending, "")
    if not reason and content[:2] in PICKLES:
        reason = OTHERS[".pkl"]
    if reason.endswith("its Keras model"):
        raise RecipeError(
            f"{path}: {reason}, so there is nothing to convert again. Adopt the Keras model that it was made "
            f"of, and compare the file with it: tledge verify {path.name} --against RUN"
        )
    if reason:
        raise RecipeError(f"{path}: {reason}. {EXPECTED}.")
    if not content.startswith((HDF5, ZIP)):
        raise RecipeError(f"{path}: no model that can be adopted. {EXPECTED}.")
