"""Open prepared data: every photo, decoded once into a cache of pixels.

A cache folder holds `images.npy` (uint8[N, H, W, 3]), `index.json` (a row per image), and
`originals/`: some encoded photos of each class and source split, for the golden set. Its name is a hash of
the source, its options, its content and the size, so a changed photo makes another cache. Until it is
complete it has a name that begins with a dot, and a killed command is resumed from there. A damaged cache is
made again. With `[data] cache = false` there is no `images.npy`: every photo is decoded once for the index,
and again whenever it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tledge._io import array_file
from tledge.data import cache_index
from tledge.data.cache_index import CacheHeader, Row
from tledge.data.labels import ClassList, recorded_classes
from tledge.data.sources.left_out import LeftOut
from tledge.data.sources.registry import SOURCES
from tledge.data.streaming import Images, StreamedImages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


ORIGINALS = 6
"""Encoded photos kept per class and source split."""


@dataclass(frozen=True)
class Prepared:
    """A cache folder and its content; `skipped` names photos that did not decode, and why.

    `streamed` is the header of an index without a cache of pixels, and `left_out` counts the files that
    the source passed over, which is known where it was walked. `labels` are in the order of the class
    indices; `origin` says whose order that is, `source_order` is that of the source, where it has one, and
    `merged` describes spellings that are one label (see `tledge.data.labels`).
    """

    folder: Path
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    skipped: tuple[str, ...]
    streamed: CacheHeader | None = None
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    origin: str = "natural"
    source_order: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()

    def images(self) -> Images:
        """Return all images uint8[N, H, W, 3]: read from the disk, or decoded, when they are asked for."""
        return self._images

    @cached_property
    def _images(self) -> Images:
        if self.streamed:
            read = SOURCES[self.streamed.source].module.reader(self.streamed.options)
            return StreamedImages(self.rows, read, self.streamed.side, self.streamed.pixel_range)
        images: Images = array_file.open_array(self.folder / "images.npy")
        return images

    @cached_property
    def label_indices(self) -> NDArray[np.int64]:
        """Return the index of every image's label, int64[N], read-only."""
        import numpy as np

        index = {label: number for number, label in enumerate(self.labels)}
        indices = np.array([index[row.label] for row in self.rows], np.int64)
        indices.setflags(write=False)
        return indices


def open_cache(folder: Path) -> Prepared:
    """Open a cache folder; raises RunError where it is gone or its index is damaged."""
    return prepared_from(folder, *cache_index.read(folder / "index.json"))


def prepared_from(folder: Path, header: CacheHeader, rows: tuple[Row, ...]) -> Prepared:
    """Return the cache of a folder whose index was read."""
    streamed = header if header.source else None
    return Prepared(folder, header.labels, rows, header.skipped, streamed, source_order=header.order)


def with_recorded_labels(prepared: Prepared, recorded: Sequence[str]) -> Prepared:
    """Return the prepared images with the labels that a run recorded; DataError where these are of others."""
    return with_classes(prepared, recorded_classes({row.label for row in prepared.rows}, recorded))


def with_classes(prepared: Prepared, classes: ClassList) -> Prepared:
    """Return the prepared images with these classes; the cache keeps labels as the source spells them."""
    names = classes.spellings
    rows = prepared.rows
    if names:
        rows = tuple(replace(row, label=names[row.label]) if row.label in names else row for row in rows)
    return replace(prepared, labels=classes.names, rows=rows, origin=classes.origin, merged=classes.merged)
