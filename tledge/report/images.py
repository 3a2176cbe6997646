"""Encode small images as data URIs: photos as JPEG, a confusion matrix as a heat map."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from tledge.preprocessing import image
from tledge.visualization import plots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 144
"""Largest side of a photo in pixels; pages display it smaller, so it is sharp on dense screens."""

QUALITY = 82

INK = (43, 108, 176)
"""Blue; its opacity varies over the page's colour."""


def photo(pixels: NDArray[np.uint8]) -> str:
    """Return a photo uint8[H, W, 3] as a data URI, reduced to 144 pixels if it is larger."""
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = image.preprocess(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    out = io.BytesIO()
    Image.fromarray(small).save(out, "JPEG", quality=QUALITY, optimize=True)
    return _uri("jpeg", out.getvalue())


def heat(counts: NDArray[np.int64]) -> str:
    """Return a matrix int64[N, N] as a data URI: the opacity of a pixel shows the share of a row.

    Of very many classes a pixel is the largest of several shares.
    """
    import numpy as np
    from PIL import Image

    shares = plots.largest_shares(counts)
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = INK
    pixels[..., 3] = np.round(255 * np.sqrt(shares))  # the root makes rare confusions visible
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", optimize=True)
    return _uri("png", out.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
