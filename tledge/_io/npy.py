"""Write and read numpy's `.npy` and `.npz` files, also those of others."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import resource_errors
from tledge.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

HEADER = 128
"""Bytes before the pixels in `images.npy`; its shape is filled in when all are there."""


def npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of an `.npy` file of uint8 (format 1.0), padded to the place kept for it."""
    facts = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text = facts.ljust(HEADER - 11).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new `.npy` of zeros, memory-mapped to be filled, whose place on the disk is already taken.

    Where a disk is full under a mapped file, the system ends the process (SIGBUS); here an OSError says so.
    """
    import numpy as np

    made = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # not on Windows and macOS
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if resource_errors.is_full(error):
                    raise
    return made


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An `.npz` whose bytes depend on the arrays alone (numpy's own carries the time of day).

    Nothing is compressed: whatever reads it again, and verification does every time, would wait for that.
    """
    import numpy as np

    with zipfile.ZipFile(path, "w") as packed:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with packed.open(entry, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, array, allow_pickle=False)


def read_npz(path: Path, what: str) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz`; raises RunError, for want of `what`, where it is missing or damaged."""
    import numpy as np

    try:
        # Opened here, for numpy leaves open what turns out to be no zip file.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as packed:
            return {name: packed[name] for name in packed.files}
    except (OSError, KeyError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: no {what} ({error}). Train again.") from error
