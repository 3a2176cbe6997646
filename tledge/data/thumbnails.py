"""Make small versions of prepared images, and keep those of many in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from tledge.data.streaming import Images, in_batches
from tledge.preprocessing.image import preprocess
from tledge.progress import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 64
"""Images read at once."""


IN_MEMORY = 512 << 20
"""Bytes up to which thumbnails stay in memory; more are written to a temporary file."""


class Thumbnails(Protocol):
    """Thumbnails float32[N, D], in memory or in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (N, D)."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        """Return the thumbnails float32[M, D] of M rows."""


class _ThumbnailFile:
    """Thumbnails float32[N, D] in a file that is open for reading."""

    def __init__(self, file: IO[bytes], shape: tuple[int, int]) -> None:
        self._file, self.shape = file, shape

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        import numpy as np

        thumbnails = np.empty((len(rows), self.shape[1]), np.float32)
        for thumbnail, row in zip(thumbnails, rows.tolist(), strict=True):
            self._file.seek(row * thumbnail.nbytes)
            thumbnail[:] = np.frombuffer(self._file.read(thumbnail.nbytes), np.float32)
        return thumbnails


@contextmanager
def stored(
    blocks: Iterator[NDArray[np.float32]], count: int, folder: Path | None = None
) -> Iterator[Thumbnails]:
    """Keep blocks of `count` thumbnails in memory, or, where they are many, in a temporary file.

    The file has no name: it ends with the context, and with the process.

    Args:
        blocks: The thumbnails, at least one block.
        count: How many there are in all blocks.
        folder: Where the file lies; None is the system's folder for temporary files.
    """
    import numpy as np

    first = next(blocks)
    blocks = chain([first], blocks)
    if count * first[0].nbytes <= IN_MEMORY:
        yield np.concatenate(list(blocks))
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            file.write(block.tobytes())
        file.flush()
        yield _ThumbnailFile(file, (count, first.shape[1]))


def box_means(images: Images, side: int) -> NDArray[np.float32]:
    """Average boxes of uint8[N, H, W, 3] to float32[N, side * side * 3]; see `box_mean_blocks`."""
    import numpy as np

    thumbnails = np.empty((len(images), side * side * images.shape[3]), np.float32)
    for number, means in enumerate(box_mean_blocks(images, side)):
        thumbnails[number * BATCH :][: len(means)] = means
    return thumbnails


def box_mean_blocks(images: Images, side: int) -> Iterator[NDArray[np.float32]]:
    """Yield the averaged boxes of `BATCH` images after another, float32[M, side * side * 3].

    Where `side` does not divide the image's side, boxes differ by a pixel, so that a turned image does not
    give the same thumbnail, turned. `shrink` does, and takes longer.
    """
    import numpy as np

    count, height, width, _channels = images.shape
    rows, columns = (np.arange(side) * length // side for length in (height, width))
    area = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[None, :, :, None]
    for batch in in_batches(images, np.arange(count), BATCH):
        block: NDArray[np.float32] = batch.astype(np.float32)
        means = np.add.reduceat(np.add.reduceat(block, rows, axis=1), columns, axis=2) / area
        yield means.reshape(len(means), -1).astype(np.float32)


def shrink_all(
    images: Images, rows: NDArray[np.int64], side: int, task: Task | None = None
) -> NDArray[np.float32]:
    """Shrink images[rows] to float32[N, side, side, 3]; `task` advances by one step for each."""
    import numpy as np

    thumbnails = np.empty((len(rows), side, side, 3), np.float32)
    for number, image in enumerate(chain.from_iterable(in_batches(images, rows, BATCH))):
        thumbnails[number] = shrink(image, side)
        if task:
            task.advance()
    return thumbnails


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Resize uint8[H, W, 3] to float32[side, side, 3]; a turned image shrinks to the same, turned."""
    return preprocess(image, (side, side)).astype("float32")
