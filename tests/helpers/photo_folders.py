"""Folders of small photos, and what a recipe says of them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tledge.config import Data

Pixels = NDArray[np.uint8]


def pixels(seed: int, side: int = 20) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def photo(seed: int, kind: str = "PNG") -> bytes:
    out = BytesIO()
    Image.fromarray(pixels(seed)).save(out, kind)
    return out.getvalue()


def data_of(folder: Path, **parts: str) -> Data:
    return Data(source=f"folder:{folder}", **parts)  # type: ignore[arg-type]


def cats_and_dogs(folder: Path) -> Path:
    """Photos of two labels in two splits: 3 and 2 of each label."""
    for number, (split, label) in enumerate((s, lab) for s in ("train", "test") for lab in ("cat", "dog")):
        place = folder / split / label
        place.mkdir(parents=True)
        for index in range(3 if split == "train" else 2):
            kind = ("png", "jpeg")[index % 2]
            (place / f"{index}.{kind}").write_bytes(photo(10 * number + index, kind))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def colored_photos(folder: Path, counts: dict[str, int], side: int = 32) -> Path:
    """Photos that the smallest network tells apart: red, green and blue noise, so many a split and label."""
    random = np.random.default_rng(0)
    for split, count in counts.items():
        for channel, label in enumerate(("red", "green", "blue")):
            place = folder / split / label
            place.mkdir(parents=True)
            for number in range(count):
                noise = random.integers(0, 90, (side, side, 3), np.uint8)
                noise[..., channel] += 150
                Image.fromarray(noise).save(place / f"{number}.png")
    return folder
