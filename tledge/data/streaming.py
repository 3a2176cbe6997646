"""Decode prepared images from the source whenever they are needed, instead of caching their pixels.

`StreamedImages` replaces the array of the cache. Several threads decode photos (Pillow lets
other threads run meanwhile), and the photos that come next can be decoded ahead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from tledge._process import processors
from tledge.data.cache_index import Row
from tledge.data.sources.base import Reader
from tledge.errors import DataError
from tledge.preprocessing import image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Images(Protocol):
    """Prepared images uint8[N, H, W, 3]: what `ArrayFile` and `StreamedImages` have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (N, H, W, 3)."""

    @property
    def dtype(self) -> Any:
        """Return uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return one image uint8[H, W, 3] for a number, uint8[M, H, W, 3] for a slice or integers."""


class StreamedImages:
    """Images of `rows`, each decoded to `side` x `side` when it is indexed; none is kept.

    Indexing raises DataError, naming the photo, where it is missing or is not the one that was indexed.
    """

    def __init__(
        self, rows: tuple[Row, ...], read: Reader, side: int, pixel_range: tuple[float, ...] = ()
    ) -> None:
        import numpy as np

        self.shape = (len(rows), side, side, 3)
        self.dtype = np.dtype(np.uint8)
        self._rows, self._read, self._numbers = rows, read, np.arange(len(rows))
        self._pixel_range = pixel_range
        self._ahead: dict[int, Future[NDArray[np.uint8]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        import numpy as np

        numbers = self._numbers[index]  # numpy's own rules and errors
        if numbers.ndim == 0:
            return self._begin(int(numbers)).result()
        decoding = [self._begin(number) for number in numbers.tolist()]
        images = np.empty((len(decoding), *self.shape[1:]), np.uint8)
        for position, future in enumerate(decoding):
            images[position] = future.result()
        return images

    def decode_ahead(self, numbers: NDArray[np.int64]) -> None:
        """Begin to decode these images, which will be needed next."""
        self._ahead = {number: _threads().submit(self._decode, number) for number in numbers.tolist()}

    def _begin(self, number: int) -> Future[NDArray[np.uint8]]:
        return self._ahead.pop(number, None) or _threads().submit(self._decode, number)

    def _decode(self, number: int) -> NDArray[np.uint8]:
        row = self._rows[number]
        try:
            data = self._read(row.id, row.offset, row.bytes)
        except OSError as error:
            raise DataError(f"{row.id}: can no longer be read ({error}). {_ADVICE}") from error
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise DataError(f"{row.id}: not the photo that was indexed (SHA-256 differs). {_ADVICE}")
        return image.preprocess(data, self.shape[1:3], self._pixel_range)


_ADVICE = "With [data] cache = false photos must not change while they are used; start again."


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(processors.usable(), "decode")


class OneHot:
    """Labels int64[N] that become float32[M, classes] only for the rows that are indexed."""

    def __init__(self, labels: NDArray[np.int64], classes: int) -> None:
        self._labels = labels
        self.shape = (len(labels), classes)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        import numpy as np

        return np.eye(self.shape[1], dtype=np.float32)[self._labels[rows]]


def in_batches(images: Images, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield images[rows] in batches of `size`; the next one is decoded meanwhile."""
    for start in range(0, len(rows), size):
        batch: NDArray[np.uint8] = images[rows[start : start + size]]
        decode_ahead(images, rows[start + size : start + 2 * size])
        yield batch


def decode_ahead(images: object, rows: NDArray[np.int64]) -> None:
    """Begin to decode these images if they are streamed."""
    if isinstance(images, StreamedImages):
        images.decode_ahead(rows)
