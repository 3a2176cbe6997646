"""Prepared images without a cache of them: decoded from the source whenever they are asked for.

`StreamedImages` stands in for the memory-mapped array of the cache. Photos are decoded by several threads
(Pillow lets others run meanwhile), and the photos that come next can be decoded ahead.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from tledge.data.cache_index import Row
from tledge.data.sources.base import Reader
from tledge.errors import DataError
from tledge.preprocessing import image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Images(Protocol):
    """Prepared images uint8[N, H, W, 3]: what stages ask of a memory-mapped array, or of `StreamedImages`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, 3)."""

    @property
    def dtype(self) -> Any:
        """uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, wanted: Any, /) -> Any:
        """One image uint8[H, W, 3] of a number, or uint8[M, H, W, 3] of a slice or integers."""


class StreamedImages:
    """Images of `rows`, each decoded to `side` x `side` when it is asked for; keeps none.

    Raises DataError, naming the photo, where it is gone or is not the one that was indexed.
    """

    def __init__(self, rows: tuple[Row, ...], read: Reader, side: int) -> None:
        import numpy as np

        self.shape = (len(rows), side, side, 3)
        self.dtype = np.dtype(np.uint8)
        self._rows, self._read, self._numbers = rows, read, np.arange(len(rows))
        self._ahead: dict[int, Future[NDArray[np.uint8]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, wanted: Any) -> NDArray[np.uint8]:
        import numpy as np

        numbers = self._numbers[wanted]  # numpy's own rules and errors
        if numbers.ndim == 0:
            return self._begin(int(numbers)).result()
        coming = [self._begin(number) for number in numbers.tolist()]
        made = np.empty((len(coming), *self.shape[1:]), np.uint8)
        for place, one in enumerate(coming):
            made[place] = one.result()
        return made

    def decode_ahead(self, numbers: NDArray[np.int64]) -> None:
        """Begin to decode these images: they will be asked for next."""
        self._ahead = {number: _threads().submit(self._decode, number) for number in numbers.tolist()}

    def _begin(self, number: int) -> Future[NDArray[np.uint8]]:
        return self._ahead.pop(number, None) or _threads().submit(self._decode, number)

    def _decode(self, number: int) -> NDArray[np.uint8]:
        row = self._rows[number]
        try:
            data = self._read(row.id, row.offset, row.bytes)
        except OSError as error:
            raise DataError(f"{row.id}: cannot be read any more ({error}). {_AGAIN}") from error
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise DataError(f"{row.id}: not the photo that was looked at first (SHA-256 differs). {_AGAIN}")
        return image.preprocess(data, self.shape[1:3])


_AGAIN = "With [data] cache = false photos must stay as they are while they are used; begin again."


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "decode")


class OneHot:
    """Labels int64[N] as the rows float32[M, classes] of N that are asked for, not all at once."""

    def __init__(self, labels: NDArray[np.int64], classes: int) -> None:
        self._labels = labels
        self.shape = (len(labels), classes)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        import numpy as np

        return np.eye(self.shape[1], dtype=np.float32)[self._labels[rows]]


def in_batches(images: Images, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.uint8]]:
    """images[rows] in batches of `size`, the next one decoded while the last is worked on."""
    for start in range(0, len(rows), size):
        batch: NDArray[np.uint8] = images[rows[start : start + size]]
        decode_ahead(images, rows[start + size : start + 2 * size])
        yield batch


def decode_ahead(images: object, rows: NDArray[np.int64]) -> None:
    """Tell streamed images what comes next; others need no telling."""
    if isinstance(images, StreamedImages):
        images.decode_ahead(rows)
