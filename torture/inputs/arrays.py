"""Arrays in `.npz` and `.npy` files that are not what they should be, or stand for gigabytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

GIGABYTES = 11
"""What a file of a few megabytes, or of a few bytes, asks for."""


def npy(array: Any, shape: tuple[int, ...] | None = None) -> bytes:
    """Return an array as `.npy`; its header may say another shape."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), allow_pickle=True)
    data = out.getvalue()
    if shape is None:
        return data
    header = io.BytesIO()
    facts = {"descr": np.asarray(array).dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue() + np.asarray(array).tobytes()


def write(path: Path, members: Mapping[str, bytes], compressed: bool = False) -> None:
    """Write an `.npz` of these members."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as packed:
        for name, data in members.items():
            packed.writestr(f"{name}.npy", data)


def _changed(name: str, change: Callable[[NDArray[Any]], Any]) -> Callable[[Path, Arrays], None]:
    """Return what writes the arrays with one of them changed."""

    def put(path: Path, arrays: Arrays) -> None:
        write(path, {key: npy(change(array) if key == name else array) for key, array in arrays.items()})

    return put


def _claiming(path: Path, arrays: Arrays) -> None:
    """Write images whose header claims gigabytes that the file does not hold."""
    huge = (GIGABYTES << 30, 1, 1, 1)
    members = {name: npy(array) for name, array in arrays.items()}
    write(path, members | {"images": npy(arrays["images"][:0], huge)})


def _bomb(path: Path, arrays: Arrays) -> None:
    """Write images of zeros, compressed to a thousandth."""
    side = arrays["images"].shape[1]
    count = (GIGABYTES << 30) // (side * side * 3)
    header = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
    np.lib.format.write_array_header_1_0(header, facts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, array in arrays.items():
            if name != "images":
                packed.writestr(f"{name}.npy", npy(array))
        with packed.open("images.npy", "w", force_zip64=True) as out:
            out.write(header.getvalue())
            block = bytes(1 << 24)
            for _ in range((GIGABYTES << 30) // len(block)):
                out.write(block)


def _objects(array: NDArray[Any]) -> NDArray[Any]:
    return np.array([None, {"a": 1}] + [0] * (len(array) - 2), dtype=object)


DAMAGED: dict[str, Callable[[Path, Arrays], None]] = {
    "claims gigabytes": _claiming,
    "objects in images": _changed("images", _objects),
    "objects in ids": _changed("ids", _objects),
    "images of floats": _changed("images", lambda array: array.astype(np.float64)),
    "images without a side": _changed("images", lambda array: array[..., 0]),
    "images of another size": _changed("images", lambda array: array[:, :5, :7]),
    "no images": _changed("images", lambda array: array[:0]),
    "fewer labels": _changed("labels", lambda array: array[:3]),
    "labels of text": _changed("labels", lambda array: np.array(["x"] * len(array))),
    "labels out of range": _changed("labels", lambda array: array + 10**9),
    "labels negative": _changed("labels", lambda array: array - 5),
    "labels of two sides": _changed("labels", lambda array: np.stack([array, array])),
    "fewer classes": _changed("probabilities", lambda array: array[:, :2]),
    "probabilities of one side": _changed("probabilities", lambda array: array[:, 0]),
    "probabilities complex": _changed("probabilities", lambda array: array.astype(np.complex64)),
    "probabilities of nothing": _changed("probabilities", lambda array: np.full_like(array, np.nan)),
    "fields for numbers": _changed(
        "probabilities", lambda array: np.zeros(len(array), [("a", "f4"), ("b", "O")])
    ),
    "fewer ids": _changed("ids", lambda array: array[:1]),
    "ids that rule a terminal": _changed("ids", lambda array: np.array(["\x1b[2J\u202e"] * len(array))),
    "faults of text": _changed("fault.channels-swapped", lambda array: np.array(["x"] * len(array))),
    "faults of one side": _changed("fault.channels-swapped", lambda array: array[0]),
    "no array": lambda path, arrays: write(path, {name: b"no array" for name in arrays}),
    "a number": lambda path, arrays: write(path, {name: npy(7) for name in arrays}),
    "a deep header": lambda path, arrays: write(
        path, {name: b"\x93NUMPY\x01\x00\x10\x27" + b"[" * 10_000 for name in arrays}
    ),
    "empty": lambda path, arrays: path.write_bytes(b"") and None,
    "a bare array": lambda path, arrays: path.write_bytes(npy(arrays["images"])) and None,
    "bomb": _bomb,
}
"""Damaged `golden.npz`: what is wrong, and what writes it from the arrays of a good one."""

QUICK = ("claims gigabytes", "images without a side", "fewer labels")
"""Those that are tried where seconds count."""
