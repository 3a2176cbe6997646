"""Rows of an array on the disk: the same as in memory, and an error in words once they are gone."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tledge._io import array_file
from tledge._io.array_file import ArrayFile
from tledge.errors import RunError

pytestmark = pytest.mark.skipif(not hasattr(os, "preadv"), reason="memory-mapped here")


@pytest.fixture(params=[0, array_file.AT_ONCE], ids=["rows", "at once"])
def stored(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Any]:
    """An array in memory and on the disk, which is read by rows or at once."""
    monkeypatch.setattr(array_file, "AT_ONCE", request.param)
    values = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3)).astype(np.uint8)
    np.save(tmp_path / "images.npy", values)
    return values, ArrayFile(tmp_path / "images.npy")


@pytest.mark.parametrize(
    "index",
    [3, -1, np.int64(2), slice(2, 7), slice(None, None, 3), slice(5, 5), [4, 4, 0], np.array([9, 8, 7]),
     np.array([], np.int64), np.arange(11) % 2 == 0, np.array([[1, 2], [3, 0]])],
)  # fmt: skip
def test_rows_are_those_of_the_array(stored: tuple[Any, Any], index: Any) -> None:
    values, read = stored
    assert np.array_equal(read[index], values[index])
    assert read[index].shape == values[index].shape and read[index].dtype == values.dtype


def test_what_is_known_without_reading(stored: tuple[Any, Any]) -> None:
    values, read = stored
    assert (read.shape, read.ndim, read.dtype, len(read)) == (values.shape, 4, values.dtype, 11)
    assert np.array_equal(np.asarray(read), values)
    assert all(np.array_equal(one, two) for one, two in zip(read, values, strict=True))
    with pytest.raises(IndexError):
        read[11]


def test_what_is_read_may_be_changed(stored: tuple[Any, Any]) -> None:
    values, read = stored
    for index in (2, slice(0, 3), [2]):
        read[index][:] = 0
    assert np.array_equal(read[:], values)


def test_part_outlives_the_whole(stored: tuple[Any, Any]) -> None:
    values, read = stored
    part = array_file.part_of(read, 7)
    del read
    gc.collect()
    assert part.shape == (4, 5, 3) and np.array_equal(part[[3, 1]], values[7][[3, 1]])
    assert np.array_equal(array_file.part_of(values, 7), values[7])


def test_floats_of_another_header(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    with (tmp_path / "features.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=(2, 0))
    assert np.array_equal(ArrayFile(tmp_path / "features.npy")[[2, 0]], values[[2, 0]])


def large(path: Path, monkeypatch: pytest.MonkeyPatch) -> ArrayFile:
    """An array that is read by rows."""
    monkeypatch.setattr(array_file, "AT_ONCE", 0)
    np.save(path, np.ones((100, 64, 64), np.uint8))
    return ArrayFile(path)


def test_file_that_is_cut_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "images.npy"
    images = large(path, monkeypatch)
    os.truncate(path, 300_000)
    assert images[[5, 3]].all()
    with pytest.raises(RunError, match=rf"{path}: .*it was cut while it was used.*Run the command again"):
        images[[5, 99]]


def test_file_that_is_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = large(tmp_path / "images.npy", monkeypatch)
    (tmp_path / "images.npy").unlink()
    assert images[[5, 99]].all()


def test_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(5, "Input/output error")

    images = large(tmp_path / "images.npy", monkeypatch)
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(RunError, match="Input/output error"):
        images[3]


def test_short_reads_are_continued(stored: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    values, read = stored
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: whole(file, [buffers[0][:7]], at))
    assert np.array_equal(read[1:9], values[1:9])


@pytest.mark.parametrize(
    "fault", ["missing", "cut", "longer", "header", "objects", "scalar", "columns", "link"]
)
def test_file_that_is_no_array(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "images.npy"
    odd = {"objects": np.array([{}]), "scalar": np.array(3), "columns": np.asfortranarray(np.ones((3, 4)))}
    np.save(path, odd.get(fault, np.ones((3, 4))), allow_pickle=True)
    content = path.read_bytes()
    changed = {"cut": content[:-1], "longer": content + b"x", "header": content[:50]}
    path.write_bytes(changed.get(fault, content))
    if fault == "missing":
        path.unlink()
    if fault == "link":
        path.symlink_to(path.rename(tmp_path / "other.npy"))
    with pytest.raises(RunError, match=str(path)):
        ArrayFile(path)
