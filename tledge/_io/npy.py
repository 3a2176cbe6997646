"""Write and read `.npy` and `.npz` files: reproducible, and with clear errors for damaged files.

This is own code because numpy's own `.npz` contains the time of day.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import bus_errors, file_guard, resource_errors
from tledge.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

HEADER = 128
"""Bytes before the pixels in `images.npy`; the shape is filled in when all images are written."""


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Return the header of an `.npy` file of uint8 (format 1.0), padded to `HEADER` bytes."""
    fields = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text = fields.ljust(HEADER - 11).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def create_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create a memory-mapped `.npy` of zeros whose space on the disk is already reserved.

    Without that, the system kills a process that fills a mapped file on a full disk (SIGBUS); here an
    OSError is raised before.
    """
    import numpy as np

    bus_errors.explain_bus_errors()
    mapped = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # not on Windows and macOS
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if resource_errors.is_full(error):
                    raise
    return mapped


def open_mapped(path: Path) -> NDArray[Any]:
    """Open an `.npy` file that is read only where it is used; say what happened where that fails then."""
    import numpy as np

    bus_errors.explain_bus_errors()
    mapped: NDArray[Any] = np.load(path, mmap_mode="r")
    return mapped


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an `.npz` whose bytes depend on the arrays alone.

    It is not compressed: verification reads it each time, and would wait for the decompression.
    """
    import numpy as np

    with zipfile.ZipFile(path, "w") as packed:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with packed.open(entry, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, array, allow_pickle=False)


def read_npz(path: Path, what: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz`; raise RunError, which names `what`, if it is missing or damaged."""
    import numpy as np

    try:
        # Opened here, because numpy does not close a file that is no zip file.
        with file_guard.open_file(path) as file, np.load(file, allow_pickle=False) as packed:
            return {name: packed[name] for name in packed.files}
    except (OSError, KeyError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: no {what} ({error}). Train again.") from error
