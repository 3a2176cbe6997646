"""Pictures that a person says were named wrongly, kept with their right label for the next training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tledge import images, runs
from tledge.errors import DataError

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}


def keep(folder: Path, label: str, labels: Sequence[str], data: bytes) -> Path:
    """Save an encoded photo as `folder/<label>/<start of its SHA-256>.<suffix>`; gives the path.

    The folder is a source to train on (`folder:` in a recipe). The same picture is kept once for a
    label. Raises DataError for a label that the model does not know and for what is no photo.
    """
    if label not in labels:
        raise DataError(f"{label!r}: no such label. Known: {', '.join(labels)}.")
    if Path(label).name != label or label in (".", ".."):
        raise DataError(f"{label!r}: this label cannot be the name of a folder.")
    kind = images.examine(data, (1, 1))[1].format
    if kind not in SUFFIXES:
        raise DataError(f"{kind} pictures are not kept. Try a JPEG or PNG.")
    path = folder / label / (hashlib.sha256(data).hexdigest()[:16] + SUFFIXES[kind])
    with runs.replacing(path) as made:
        made.write_bytes(data)
    return path
