"""Write and read `.npy` and `.npz` files: reproducible, and with clear errors for damaged files.

This is own code because numpy's own `.npz` contains the time of day.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tledge._io import bus_errors, file_guard, resource_errors
from tledge.errors import ResourceError, RunError, TledgeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

BLOCK = 1 << 20
"""Bytes that are read at a time."""

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


def read_npz(path: Path, what: str, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz` that `write_npz` wrote; a few bytes cannot stand for gigabytes in it.

    With `prefix`, only the arrays whose names begin with it.

    Raises:
        RunError: it is missing, no regular file or damaged, holds Python objects, or unpacks to more than the
            file's size; the message names `what`.
        ResourceError: the disk fails, or permissions are missing.
    """
    with (
        _failures_explained(path, what),
        file_guard.open_file(path) as file,
        zipfile.ZipFile(file) as packed,
    ):
        _require_unpacked(packed, os.fstat(file.fileno()).st_size)
        wanted = [entry for entry in packed.infolist() if entry.filename.startswith(prefix)]
        return dict(_read_member(packed, entry) for entry in wanted)


def read_npy(path: Path, what: str) -> NDArray[Any]:
    """Read an `.npy`; raise the errors that `read_npz` raises."""
    with _failures_explained(path, what), file_guard.open_file(path) as file:
        return read_array(file, os.fstat(file.fileno()).st_size)


@contextmanager
def _failures_explained(path: Path, what: str) -> Iterator[None]:
    """Tell a disk that fails, or that refuses, from a file whose content is damaged."""
    try:
        yield
    except (TledgeError, MemoryError):
        raise
    except Exception as error:  # a header is a Python literal, which fails with many exceptions
        if isinstance(error, OSError) and (reason := resource_errors.cause(error, path)):
            raise ResourceError(reason) from error
        raise RunError(f"{path}: no {what} ({error}). Train again.") from error


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether it is in Fortran order, and type of the `.npy` that a stream begins with."""
    from numpy.lib import format as formats

    is_first_version = formats.read_magic(stream) == (1, 0)
    read = formats.read_array_header_1_0 if is_first_version else formats.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    return shape, is_fortran, dtype


def read_array(stream: IO[bytes], size: int) -> NDArray[Any]:
    """Read an array of numbers or text in the format of `.npy` from `size` bytes.

    Memory is taken only for bytes that are there: what a header says may be anything.

    Raises:
        ValueError: it holds Python objects or fields, or less than its header says. A damaged header, which
            is a Python literal, raises many other exceptions.
    """
    import numpy as np

    shape, is_fortran, dtype = read_header(stream)
    if dtype.kind not in "biufU" or dtype.subdtype is not None:
        raise ValueError(f"it holds {dtype}, expected numbers or text")
    bytes_needed = math.prod(shape) * dtype.itemsize
    if not 0 <= bytes_needed <= size or any(side < 0 for side in shape):
        raise ValueError(f"its header says {bytes_needed} bytes, and there are {size}")
    values = bytearray(bytes_needed)
    _fill(stream, memoryview(values))
    array: NDArray[Any] = np.ndarray(shape, dtype, values, order="F" if is_fortran else "C")
    return array


def _fill(stream: IO[bytes], values: memoryview) -> None:
    """Read exactly as many bytes as `values` takes; raise ValueError where there are fewer."""
    filled = 0
    while filled < len(values):
        count = stream.readinto(values[filled : filled + BLOCK])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"it is cut: {len(values)} bytes were expected, {filled} are there")
        filled += count


def _require_unpacked(packed: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError where members of a zip unpack to more than `size` bytes."""
    unpacked = sum(entry.file_size for entry in packed.infolist())
    if unpacked > size:
        raise ValueError(f"it unpacks to {unpacked} bytes, more than its own {size}")


def _read_member(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, NDArray[Any]]:
    with packed.open(entry) as member:
        return entry.filename.removesuffix(".npy"), read_array(member, entry.file_size)
