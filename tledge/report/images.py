"""Small pictures inside a page: photos as JPEG, a confusion matrix as a heat map, both as data URIs."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from tledge.preprocessing import image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 144
"""Pixels of a photo's side, at most; pages show it smaller, and sharp on dense screens."""

QUALITY = 82

INK = (43, 108, 176)
"""Blue on whatever colour the page has."""


def photo(pixels: NDArray[np.uint8]) -> str:
    """A photo uint8[H, W, 3] as a data URI, shrunk to 144 pixels where it is larger."""
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = image.preprocess(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    out = io.BytesIO()
    Image.fromarray(small).save(out, "JPEG", quality=QUALITY, optimize=True)
    return _uri("jpeg", out.getvalue())


def heat(counts: NDArray[np.int64]) -> str:
    """A matrix int64[N, N] as a data URI of N x N pixels: each row's shares as depth of ink."""
    import numpy as np
    from PIL import Image

    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    pixels = np.empty((*counts.shape, 4), np.uint8)
    pixels[..., :3] = INK
    pixels[..., 3] = np.round(255 * np.sqrt(shares))  # the root lifts few mistakes out of the paper
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", optimize=True)
    return _uri("png", out.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
