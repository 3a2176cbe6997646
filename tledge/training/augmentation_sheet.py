"""Draw a contact sheet of augmented images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import atomic
from tledge._process import optional_imports
from tledge.config import Augment
from tledge.data.cache import Prepared
from tledge.data.sampling import by_class_in_turn
from tledge.models import augmentation
from tledge.visualization import contact_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = Mapping[str, NDArray[np.int64]]


PHOTOS, COPIES = 6, 9
"""Photos on the sheet of augmentations, and augmentation copies of each."""


def augmented(
    prepared: Prepared, train: NDArray[np.int64], table: Augment, folder: Path, seed: int
) -> list[Path]:
    """Write `augmented.png`: a few train photos, each followed by augmentation copies of it.

    Returns:
        Its path; an empty list where the recipe changes no images.

    Raises:
        MissingError: Keras is not installed.
    """
    import numpy as np

    if table.is_off:
        return []
    optional_imports.load("keras", "train")
    chosen = train[by_class_in_turn(prepared.label_indices[train], PHOTOS, seed)]
    images = prepared.images()[chosen]
    augment = augmentation.make_augmenter(table, seed)
    copies = [augment(images) for _ in range(COPIES)]
    rows = np.stack([images, *copies], axis=1)
    captions = [text for row in chosen for text in (prepared.rows[row].label, *[""] * COPIES)]
    with atomic.replacing(folder / "augmented.png") as path:
        flat = rows.reshape(-1, *images.shape[1:])
        contact_sheet.sheet(flat, captions, path, "train photos, each with augmentation copies")
    return [folder / "augmented.png"]
