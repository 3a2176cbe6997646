"""Pictures that a person says were named wrongly, kept with their right label for the next training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tledge._io import atomic
from tledge.errors import DataError
from tledge.preprocessing import image

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}


MAX_KEPT = 2 << 30
"""Bytes of pictures that are kept in a folder: whoever may send one could fill the disk."""


def keep(folder: Path, label: str, labels: Sequence[str], data: bytes) -> Path:
    """Save an encoded photo as `folder/<label>/<start of its SHA-256>.<suffix>`; gives the path.

    The folder is a source to train on (`folder:` in a recipe). The same picture is kept once for a
    label. Raises DataError for a label that the model does not know, for what is no photo, and where the
    folder is full.
    """
    if label not in labels:
        raise DataError(f"{label!r}: no such label. Known: {', '.join(labels)}.")
    if Path(label).name != label or label in (".", ".."):
        raise DataError(f"{label!r}: this label cannot be the name of a folder.")
    kind = image.preprocess_with_facts(data, (1, 1))[1].format
    if kind not in SUFFIXES:
        raise DataError(f"{kind} pictures are not kept. Try a JPEG or PNG.")
    _require_place(folder, len(data))
    path = folder / label / (hashlib.sha256(data).hexdigest()[:16] + SUFFIXES[kind])
    with atomic.replacing(path) as made:
        made.write_bytes(data)
    return path


def _require_place(folder: Path, size: int) -> None:
    kept = sum(path.stat().st_size for path in folder.glob("*/*") if path.is_file())
    if kept + size > MAX_KEPT:
        raise DataError(
            f"{folder}: full, at most {MAX_KEPT >> 20} MiB of pictures are kept. "
            "Move them to your photos, or name another folder with --feedback."
        )
