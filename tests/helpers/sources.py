"""Reading a source as preparing does, and what every source is checked for."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tledge.config import Data
from tledge.data import cache, prepare
from tledge.data.sources.base import Record, Source
from tledge.errors import DataError
from tledge.preprocessing import image

LABELS = ("ant", "bee", "cat")


def options(source: Source, **chosen: object) -> dict[str, object]:
    return {**source.OPTIONS, **chosen}


def read(source: Source, **chosen: object) -> list[Record]:
    """All records, after a check that they are counted, told apart and can go to another process."""
    scan = source.scan(options(source, **chosen))
    found = list(scan.records())
    assert scan.count() == len(found)
    assert len({record.id for record in found}) == len(found)
    assert [pickle.loads(pickle.dumps(record)).read() for record in found] == [one.read() for one in found]
    return found


def fails(source: Source, **chosen: object) -> str:
    """The message of the DataError that reading raises."""
    with pytest.raises(DataError) as caught:
        list(source.scan(options(source, **chosen)).records())
    return str(caught.value)


def prepared(source: str, **chosen: object) -> cache.Prepared:
    return prepare.prepare_dataset(Data(source=source, options=chosen), 16)


def check_prepared(made: cache.Prepared, expected: Mapping[str, tuple[str, str, bytes]]) -> None:
    """The cache holds these ids with label, split and pixels, and nothing else."""
    assert {row.id for row in made.rows} == set(expected)
    for row, pixels in zip(made.rows, made.images(), strict=True):
        label, split, photo = expected[row.id]
        assert (row.label, row.split) == (label, split)
        assert np.array_equal(pixels, image.preprocess(photo, (16, 16)))


def touch(root: Path, *names: str) -> Path:
    """Files whose content is their name; a folder source does not decode them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root
