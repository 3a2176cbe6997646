"""A made-up set of TensorFlow Datasets refuses what would mislead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import fake_data


def test_fake_set_refuses_what_would_mislead(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"beans has version 0\.1\.0, not 0\.2\.0"):
        fake_data.tfds_set(tmp_path, "beans", "0.2.0", {"train": 3})
    with pytest.raises(ValueError, match=r"no labels \['weed'\]"):
        fake_data.tfds_set(tmp_path, "beans", "0.1.0", {"train": 3}, ["weed"])
