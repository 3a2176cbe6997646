"""Arrays in files: mapped ones have their place on the disk before they are filled."""

from __future__ import annotations

import errno
import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.full_disk import FULL
from tledge._io import npy
from tledge.errors import ResourceError, RunError


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call here")
def test_mapped_array_takes_its_place_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int, _start: int, size: int) -> None:
        assert size == (tmp_path / "a.npy").stat().st_size > 6 * 4
        raise FULL

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        npy.create_array(tmp_path / "a.npy", np.float32, (2, 3))


def test_mapped_array_is_zeros_to_fill(tmp_path: Path) -> None:
    made = npy.create_array(tmp_path / "a.npy", np.float32, (2, 3))
    made[1] = 5
    made.flush()
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 0, 0], [5, 5, 5]]
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 24


ARRAYS = {
    "images": np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3),
    "ids": np.array(["a", "手"]),
    "none": np.zeros((0, 3), np.float32),
    "number": np.array(7),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


def test_arrays_come_back(tmp_path: Path) -> None:
    npy.write_npz(tmp_path / "a.npz", ARRAYS)
    read = npy.read_npz(tmp_path / "a.npz", "readable arrays")
    assert {name: (array.dtype, array.shape, array.tolist()) for name, array in read.items()} == {
        name: (array.dtype, array.shape, array.tolist()) for name, array in ARRAYS.items()
    }
    assert all(array.flags.writeable for array in read.values())


def npy_bytes(array: Any, **header: Any) -> bytes:
    """An array as `.npy`, with a header that may say something else."""
    out = io.BytesIO()
    facts = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    np.lib.format.write_array_header_2_0(out, facts)
    return out.getvalue() + array.tobytes()


HOSTILE = {
    "objects": npy_bytes(np.zeros(8, np.uint8), descr="|O", shape=(1,)),
    "fields": npy_bytes(np.zeros(8, np.uint8), descr=[("a", "<f4"), ("b", "<f4")], shape=(1,)),
    "bytes": npy_bytes(np.zeros(8, "S8")),
    "dates": npy_bytes(np.zeros(1, np.int64), descr="<M8[s]"),
    "gigabytes": npy_bytes(np.zeros(8, np.uint8), shape=(11 << 30,)),
    "more than any number": npy_bytes(np.zeros(8, np.uint8), shape=(1 << 62, 1 << 62)),
    "negative": npy_bytes(np.zeros(8, np.uint8), shape=(-1, -8)),
    "no number": npy_bytes(np.zeros(8, np.uint8), shape=("x",)),
    "cut": npy_bytes(np.zeros(8, np.uint8))[:-1],
    "deep header": b"\x93NUMPY\x01\x00\x10\x27" + b"[" * 10_000,
    "long header": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 100,
    "no array": b"\x80\x04\x95cposix\nsystem\n.",
    "nothing": b"",
}


@pytest.mark.parametrize("damage", sorted(HOSTILE))
def test_hostile_array_is_refused(damage: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(HOSTILE[damage])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as packed:
        packed.writestr("images.npy", HOSTILE[damage])
    with pytest.raises(RunError, match=r"a\.npy: no readable images \(.*\)\. Train again"):
        npy.read_npy(tmp_path / "a.npy", "readable images")
    with pytest.raises(RunError, match=r"a\.npz: no readable images \(.*\)\. Train again"):
        npy.read_npz(tmp_path / "a.npz", "readable images")


def test_memory_is_taken_for_what_is_there(tmp_path: Path) -> None:
    """A header that claims gigabytes, and zeros that were compressed to a thousandth."""
    header = npy_bytes(np.zeros(0, np.uint8), shape=(1 << 26,))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("images.npy", header + bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(RunError, match=r"it unpacks to 67108\d+ bytes, more than its own"):
            npy.read_npz(tmp_path / "a.npz", "readable images")
        with pytest.raises(ValueError, match="its header says 11811160064 bytes, and there are 136"):
            npy.read_array(io.BytesIO(HOSTILE["gigabytes"]), 136)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(RunError, match="is a pipe"):
        npy.read_npz(tmp_path / "a.npz", "readable images")


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EIO, "Input/output error"), (errno.EACCES, "Permission denied")]
)
@pytest.mark.parametrize("read", [npy.read_npz, npy.read_npy])
def test_disk_that_fails_is_not_a_damaged_file(
    read: Callable[[Path, str], object],
    number: int,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_file(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(npy.file_guard, "open_file", open_file)
    with pytest.raises(ResourceError) as caught:
        read(tmp_path / "golden.npz", "readable golden set")
    assert expected in str(caught.value) and "golden.npz" in str(caught.value)
    assert "Train again" not in str(caught.value)
