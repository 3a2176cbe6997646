"""Save photos that were classified wrongly, with their correct label, for the next training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tledge._io import atomic
from tledge.errors import DataError
from tledge.preprocessing import image

FILE_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}

MAX_FOLDER_BYTES = 2 << 30
"""Bytes of photos in a folder: without a limit, a client could fill the disk."""


def keep(folder: Path, label: str, labels: Sequence[str], data: bytes) -> Path:
    """Save an encoded photo as `folder/<label>/<start of its SHA-256>.<suffix>` and return the path.

    The folder is a source to train on (`folder:` in a recipe). The same photo is saved once for a
    label.

    Raises:
        DataError: The label is unknown, the data is not a photo, or the folder is full.
    """
    if label not in labels:
        raise DataError(f"{label!r}: unknown label. Known: {', '.join(labels)}.")
    if Path(label).name != label or label in (".", ".."):
        raise DataError(f"{label!r}: this label cannot be the name of a folder.")
    file_format = image.preprocess_with_facts(data, (1, 1))[1].format
    if file_format not in FILE_SUFFIXES:
        raise DataError(f"{file_format} photos cannot be saved here. Expected a JPEG or PNG.")
    _require_room(folder, len(data))
    path = folder / label / (hashlib.sha256(data).hexdigest()[:16] + FILE_SUFFIXES[file_format])
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def _require_room(folder: Path, size: int) -> None:
    used = sum(path.stat().st_size for path in folder.glob("*/*") if path.is_file())
    if used + size > MAX_FOLDER_BYTES:
        raise DataError(
            f"{folder}: full, it holds at most {MAX_FOLDER_BYTES >> 20} MiB of photos. "
            "Move them to your training photos, or choose another folder with --feedback."
        )
