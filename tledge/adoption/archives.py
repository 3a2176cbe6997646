"""Unpack the zip files of Teachable Machine, guarded, and find the model and the labels in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tledge._io import decompression, file_guard, zip_guard
from tledge.errors import ArtifactError, RecipeError
from tledge.models import keras_file

LABELS = "labels.txt"


@dataclass(frozen=True)
class Unpacked:
    """The model to open, and the text of the labels that came with it; "" for none."""

    model: Path
    labels: str = ""


def unpack(path: Path, folder: Path) -> Unpacked:
    """Return the model to open: `path` itself, or what a zip of Teachable Machine holds.

    Args:
        path: The model's file or folder.
        folder: An empty folder to unpack into.

    Raises:
        ArtifactError: The zip is damaged or unsafe.
        RecipeError: It holds no model that can be adopted.
    """
    if path.is_dir() or not _is_zip(path):
        return Unpacked(path)
    try:
        with zip_guard.open_zip(path, error=ArtifactError) as archive:
            names = {entry.filename for entry in archive.infolist() if not entry.is_dir()}
            if keras_file.CONFIG in names:
                return Unpacked(path)
            if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
                raise RecipeError(
                    f"{path}: a PyTorch file, which is a pickle: opening it runs code of its author. Export "
                    "the model to a Keras format first."
                )
            for name in sorted(names):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(decompression.read_member(archive, name, keras_file.MAX_FILE))
    except zip_guard.DAMAGE as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise ArtifactError(f"{path}: damaged or unsafe zip ({reason}).") from error
    return _found(path, folder)


def _is_zip(path: Path) -> bool:
    with file_guard.open_file(path, follow=True, error=ArtifactError) as file:
        return file.read(4) == b"PK\x03\x04"


def _found(path: Path, folder: Path) -> Unpacked:
    models = [
        *sorted(folder.rglob("*.keras")),
        *sorted(folder.rglob("*.h5")),
        *sorted(found.parent for found in folder.rglob("saved_model.pb")),
    ]
    labels = sorted(folder.rglob(LABELS))
    if len(models) != 1:
        inside = ", ".join(sorted(found.name for found in folder.rglob("*") if found.is_file())[:8])
        is_tflite = any(folder.rglob("*.tflite"))
        advice = ' Export the model again as "Keras".' if is_tflite else ""
        raise RecipeError(
            f"{path}: expected one Keras model (.keras, .h5 or a SavedModel) in the zip, found "
            f"{len(models)}; it holds {inside or 'nothing'}.{advice}"
        )
    text = file_guard.read_bytes(labels[0], limit=1 << 20, error=ArtifactError) if labels else b""
    return Unpacked(models[0], text.decode("utf-8", errors="replace"))
