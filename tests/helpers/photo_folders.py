"""Folders of small photos, and what a recipe says of them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tledge.tables import Data

Pixels = NDArray[np.uint8]


def pixels(seed: int, side: int = 20) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def photo(seed: int, kind: str = "PNG") -> bytes:
    out = BytesIO()
    Image.fromarray(pixels(seed)).save(out, kind)
    return out.getvalue()


def data_of(folder: Path, **parts: str) -> Data:
    return Data(source=f"folder:{folder}", **parts)  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
