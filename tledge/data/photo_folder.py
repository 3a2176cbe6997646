"""Read a folder of photos that no recipe names into preprocessed images: photos from the field.

The photos lie in one folder for each label, as `<label>/photo` or `<split>/<label>/photo`, or without labels
directly in the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.data.labels import comparable, normalized
from tledge.data.sources import folder
from tledge.data.sources.left_out import LeftOutCounter, sentences
from tledge.errors import DataError, RecipeError
from tledge.preprocessing import image
from tledge.preprocessing.bit_depth import PixelRange
from tledge.progress import SILENT, Progress, track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 4 << 30
"""Bytes of preprocessed images that are held in memory at most."""


@dataclass(frozen=True)
class ListedPhoto:
    """A photo below the folder: its name there, its label ("" without one), and its path."""

    name: str
    label: str
    path: Path


@dataclass(frozen=True)
class PreparedPhotos:
    """The photos of a folder as a model takes them.

    Attributes:
        names: The name of each photo below the folder.
        labels: The name of its label; all are "" where the photos have no labels.
        images: uint8[N, H, W, 3] in RGB.
        sha256: The hash of each file.
        known: Names of photos that were left out because their content is among `exclude`.
        unreadable: One sentence for each photo that could not be decoded.
        left_out: Sentences about files that are no photos, and how many there are.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    images: NDArray[np.uint8]
    sha256: tuple[str, ...]
    known: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def has_labels(self) -> bool:
        """Whether the photos lie in folders named by labels."""
        return any(self.labels)


def list_photos(root: Path) -> tuple[tuple[ListedPhoto, ...], tuple[str, ...]]:
    """Return the photos below `root` in order of path, and sentences about what is no photo.

    Raises:
        RecipeError: there is no such folder.
        DataError: it has no photos, or photos at mixed depths.
    """
    if not root.is_dir():
        raise RecipeError(f"{root}: no such folder of photos.")
    left_out = LeftOutCounter()
    listed = list(folder.photos(root, left_out))
    about = tuple(sentences(left_out.by_reason()))
    if listed and all(len(parts) == 1 for parts, _path in listed):
        return tuple(ListedPhoto(parts[0], "", Path(path)) for parts, path in listed), about
    records = folder.scan({"path": str(root)}).records()
    labelled = (
        ListedPhoto("/".join(parts), record.label, Path(path))
        for (parts, path), record in zip(listed, records, strict=True)
    )
    return tuple(labelled), about


def prepare_photos(
    root: Path,
    size: tuple[int, int],
    pixel_range: PixelRange = (),
    *,
    exclude: Collection[str] = (),
    progress: Progress = SILENT,
) -> PreparedPhotos:
    """Read and preprocess every photo below a folder.

    Args:
        root: The folder.
        size: Height and width in pixels of the model's input.
        pixel_range: The values of black and white in photos deeper than 8 bits.
        exclude: SHA-256 of files that must not be among them, such as those of the training photos.
        progress: Receives progress.

    Raises:
        RecipeError: there is no such folder.
        DataError: it has no photos that can be read, photos at mixed depths, or more than fit into memory.
    """
    import numpy as np

    listed, left_out = list_photos(root)
    _require_memory(root, len(listed), size)
    kept: list[tuple[ListedPhoto, NDArray[np.uint8], str]] = []
    known, unreadable = [], []
    for photo in track(progress, listed, "read photos", len(listed)):
        try:
            data = image.read_photo(photo.path)
            digest = hashlib.sha256(data).hexdigest()
            if digest in exclude:
                known.append(photo.name)
            else:
                kept.append((photo, image.preprocess(data, size, pixel_range), digest))
        except (DataError, OSError) as error:
            unreadable.append(f"{photo.name}: {error}")
    if not kept and not known:
        raise DataError(f"{root}: none of its {len(listed)} photos can be read. {unreadable[0]}")
    pixels = [pixels for _photo, pixels, _digest in kept]
    return PreparedPhotos(
        names=tuple(photo.name for photo, _pixels, _digest in kept),
        labels=tuple(photo.label for photo, _pixels, _digest in kept),
        images=np.stack(pixels) if pixels else np.zeros((0, *size, 3), np.uint8),
        sha256=tuple(digest for _photo, _pixels, digest in kept),
        known=tuple(known),
        unreadable=tuple(unreadable),
        left_out=left_out,
    )


def _require_memory(root: Path, count: int, size: tuple[int, int]) -> None:
    most = MAX_BYTES // (3 * size[0] * size[1])
    if count > most:
        raise DataError(
            f"{root}: {count} photos are too many at once for an input of {size[0]} x {size[1]}; "
            f"at most {most} are read. Name a folder with fewer."
        )


def label_indices(photos: PreparedPhotos, labels: Sequence[str], root: Path) -> NDArray[np.int64]:
    """Return the class of each photo, int64[N], -1 where a photo has a label that the model lacks.

    Raises:
        DataError: no photo has a label of the model.
    """
    import numpy as np

    index = {label: number for number, label in enumerate(comparable(labels))}
    found = np.array([index.get(normalized(label), -1) for label in photos.labels], np.int64)
    if len(found) and (found < 0).all():
        folders = ", ".join(sorted(set(photos.labels))[:5])
        raise DataError(
            f"{root}: its folders ({folders}) are not labels of the model ({', '.join(labels[:5])}). "
            "Name each folder after a label, or put photos without labels directly into the folder."
        )
    return found
