"""Photos that several tests of the package prepare."""

from pathlib import Path

import pytest

from tests.helpers.photo_folders import cats_and_dogs


@pytest.fixture
def folder(cache_root: Path, tmp_path: Path) -> Path:
    """Photos of two labels in two splits: 3 and 2 of each label."""
    return cats_and_dogs(tmp_path / "photos")
