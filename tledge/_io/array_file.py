"""Read rows of a large array from its `.npy` file when they are asked for.

A memory-mapped file would be a little faster, but the system kills a process (SIGBUS) that reads from one
which was cut meanwhile, or whose disk fails. Here both are errors with words.
"""

from __future__ import annotations

import copy
import math
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import file_guard, npy
from tledge.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_ONCE = 64 << 20
"""Bytes up to which an array of small rows is read when it is opened."""

SMALL_ROW = 1 << 16
"""Bytes of a row below which a read costs more than its bytes do."""

_ADVICE = "Run the command again: what is cached and damaged is made again."


class ArrayFile:
    """The array in an `.npy` file, of which the rows are read that are indexed.

    Opening and indexing raise RunError where the file is missing, cut, or cannot be read.

    Attributes:
        filename: path of the file.
        shape: sides of the array.
        dtype: type of its elements.
    """

    def __init__(self, path: Path) -> None:
        self._source = _Source(path)
        self.filename = str(path)
        self.shape, self.dtype, self._offset = self._source.header()
        self._source.require_size(self._offset + len(self) * self._row_bytes)
        self._content: NDArray[Any] | None = None
        if self._row_bytes < SMALL_ROW and len(self) * self._row_bytes <= AT_ONCE:
            self._content = self[:]

    @property
    def ndim(self) -> int:
        """Number of sides."""
        return len(self.shape)

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * int(self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        import numpy as np

        if self._content is not None:
            return np.array(self._content[index])
        numbers = np.arange(len(self))[index]  # numpy's own rules and errors
        rows = np.empty((*numbers.shape, *self.shape[1:]), self.dtype)
        self._read(numbers.reshape(-1), rows.reshape(-1).view(np.uint8).data)
        return rows

    def _read(self, numbers: NDArray[np.int64], target: memoryview) -> None:
        import numpy as np

        size = self._row_bytes
        if len(numbers) and (np.diff(numbers) == 1).all():
            self._source.read(target, self._offset + int(numbers[0]) * size)
            return
        for position, number in enumerate(numbers.tolist()):
            self._source.read(target[position * size :][:size], self._offset + number * size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        import numpy as np

        return np.asarray(self[:], dtype)

    def part(self, number: int) -> ArrayFile:
        """Return one row as an array whose own rows are read in turn."""
        part = copy.copy(self)
        part.shape = self.shape[1:]
        part._offset += number * self._row_bytes
        part._content = None if self._content is None else self._content[number]
        return part


class _Source:
    """An open file; every error of it becomes a RunError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            file = file_guard.open_file(path)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        self._file = file
        weakref.finalize(self, file.close)

    def header(self) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        """Return shape, type and the offset of the first element; refuse what is no plain array."""
        try:
            shape, is_fortran, dtype = npy.read_header(self._file)
        except (ValueError, OSError) as error:
            raise self._error(str(error)) from error
        if is_fortran or dtype.hasobject or not shape:
            raise self._error("not an array of numbers in rows")
        return shape, dtype, self._file.tell()

    def require_size(self, size: int) -> None:
        """Raise RunError where the file has another size."""
        actual = os.fstat(self._file.fileno()).st_size
        if actual != size:
            raise self._error(f"{actual} bytes, expected {size}")

    def read(self, target: memoryview, offset: int) -> None:
        """Fill a buffer with the bytes at an offset."""
        while target:
            try:
                count = os.preadv(self._file.fileno(), [target], offset)
            except OSError as error:
                raise self._error(error.strerror or str(error)) from error
            if not count:
                raise self._error("it was cut while it was used")
            target, offset = target[count:], offset + count

    def _error(self, reason: str) -> RunError:
        return RunError(f"{self._path}: cannot be read as an array ({reason}). {_ADVICE}")


def open_array(path: Path) -> Any:
    """Open the array in an `.npy` file as an `ArrayFile`, or memory-mapped where the system lacks preadv.

    Such a system is Windows, which lets nobody cut a file that is mapped.
    """
    return ArrayFile(path) if hasattr(os, "preadv") else npy.open_mapped(path)


def part_of(array: Any, number: int) -> Any:
    """Return one row of an array, of an `ArrayFile` without reading it."""
    return array.part(number) if isinstance(array, ArrayFile) else array[number]
