"""The prepared cache: what is said of a damaged or vanished one, and where it lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.photo_folders import data_of, photo
from tledge import (
    dataset,
)
from tledge.errors import (
    ResourceError,
    RunError,
)


def test_account_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "TLEDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ResourceError, match=r"no home folder\. Set HOME.*TLEDGE_CACHE"):
        dataset.cache_root()
    monkeypatch.setenv("TLEDGE_CACHE", "/somewhere")
    assert dataset.cache_root() == Path("/somewhere")


Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches lie in this test."""
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of two labels in two splits: 3 and 2 of each label."""
    for number, (split, label) in enumerate((s, lab) for s in ("train", "test") for lab in ("cat", "dog")):
        place = tmp_path / "photos" / split / label
        place.mkdir(parents=True)
        for index in range(3 if split == "train" else 2):
            kind = ("png", "jpeg")[index % 2]
            (place / f"{index}.{kind}").write_bytes(photo(10 * number + index, kind))
    return tmp_path / "photos"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}], "labels": [], "skipped": []}'])
def test_damaged_cache_is_run_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(RunError, match=r"index\.json"):
        dataset.open_cache(tmp_path)


def test_vanished_cache_is_run_error(folder: Path) -> None:
    made = dataset.prepare(data_of(folder), 16)
    shutil.rmtree(made.folder)
    with pytest.raises(RunError, match="`tledge data RECIPE`"):
        dataset.open_cache(made.folder)
