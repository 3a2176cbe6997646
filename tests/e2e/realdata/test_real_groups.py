"""Near-duplicates of real photos: the index finds what comparing every photo with every other finds."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import all_pairs
from tledge.data.duplicates import DuplicatePair, find_duplicates
from tledge.data.near_duplicates import near_duplicate_groups
from tledge.preprocessing.image import preprocess

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["beans", "flowers", "rps_originals"])
def test_real_groups_are_those_of_all_pairs(real_data: Path, name: str) -> None:
    files = sorted(path for path in (real_data / "photos" / name).rglob("*.*") if path.suffix != ".md")
    photos = np.stack([preprocess(path.read_bytes(), (96, 96)) for path in files])
    assert near_duplicate_groups(photos).tolist() == all_pairs.groups(photos)
    some = photos[:150]
    expected = [DuplicatePair(*pair) for pair in all_pairs.duplicates(some)]
    assert find_duplicates(some, [str(path) for path in files[:150]]) == expected
