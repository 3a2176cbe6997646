"""Arrays in files: mapped ones have their place on the disk before they are filled."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.full_disk import FULL
from tledge._io import npy


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
