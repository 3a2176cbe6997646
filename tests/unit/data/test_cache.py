"""The prepared cache: what is said of a damaged or vanished one, and where it lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.photo_folders import data_of
from tledge._io import cache_folder
from tledge.data import cache, prepare
from tledge.errors import ResourceError, RunError


def test_account_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "TLEDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ResourceError, match=r"no home folder\. Set HOME.*TLEDGE_CACHE"):
        cache_folder.cache_root()
    monkeypatch.setenv("TLEDGE_CACHE", "/somewhere")
    assert cache_folder.cache_root() == Path("/somewhere")


Pixels = NDArray[np.uint8]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}], "labels": [], "skipped": []}'])
def test_damaged_cache_is_run_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(RunError, match=r"index\.json"):
        cache.open_cache(tmp_path)


def test_vanished_cache_is_run_error(folder: Path) -> None:
    made = prepare.prepare_dataset(data_of(folder), 16)
    shutil.rmtree(made.folder)
    with pytest.raises(RunError, match="`tledge data RECIPE`"):
        cache.open_cache(made.folder)
