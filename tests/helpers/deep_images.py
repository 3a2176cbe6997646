"""Encoded photos whose pixels are deeper than 8 bits, written by hand where Pillow does not write them."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from tests.helpers.damaged import png

GREY, COLOUR, COLOUR_ALPHA = 0, 2, 6


def png16(values: NDArray[Any]) -> bytes:
    """A PNG of 16 bits: grey [h, w], colour [h, w, 3] or with alpha [h, w, 4]."""
    kind = GREY if values.ndim == 2 else {3: COLOUR, 4: COLOUR_ALPHA}[values.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(*values.shape[:2], rows, depth=16, color=kind)


def tiff_grey(values: NDArray[Any], compression: str | None = None) -> bytes:
    """A grey TIFF of uint16, int32 or float32, as Pillow writes it."""
    out = BytesIO()
    Image.fromarray(values).save(out, "TIFF", compression=compression)
    return out.getvalue()


def tiff(values: NDArray[Any], *, signed: bool = False, big: bool = False, white_is_0: bool = False) -> bytes:
    """An uncompressed TIFF of 16 bits, written by hand: grey [h, w] or colour [h, w, 3]."""
    order = ">" if big else "<"
    channels = 1 if values.ndim == 2 else values.shape[2]
    content = values.astype(f"{order}{'i' if signed else 'u'}2").tobytes()
    shorts = {
        256: values.shape[1], 257: values.shape[0], 258: 16, 259: 1, 277: channels, 278: values.shape[0],
        262: 2 if channels == 3 else int(not white_is_0), 339: 2 if signed else 1,
    }  # fmt: skip
    start = 8 + 2 + 12 * (len(shorts) + 2) + 4
    lists = {258, 339} if channels == 3 else set()
    entries = {
        tag: struct.pack(f"{order}HHI", tag, 3, 3) + struct.pack(f"{order}I", start + 6 * (tag == 339))
        if tag in lists
        else struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
        for tag, value in shorts.items()
    }
    pixels_at = start + 12
    for tag, value in ((273, pixels_at), (279, len(content))):
        entries[tag] = struct.pack(f"{order}HHII", tag, 4, 1, value)
    head = struct.pack(f"{order}2sHIH", b"MM" if big else b"II", 42, 8, len(entries))
    listed = b"".join(entries[tag] for tag in sorted(entries))
    values_of_lists = struct.pack(f"{order}6H", 16, 16, 16, *[shorts[339]] * 3)
    return head + listed + bytes(4) + values_of_lists + content
