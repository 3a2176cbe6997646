"""Photos in a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fake_report import LABELS
from tledge._io import files

pytest.importorskip("jinja2")


def test_run_keeps_small_photos(made: Path) -> None:
    with np.load(made / "evidence" / "photos.npz") as packed:
        assert packed["images"].shape == (29, 32, 32, 3) and packed["images"].dtype == np.uint8
        assert list(packed["splits"]) == ["train"] * 10 + ["validation"] * 9 + ["test"] * 10
        assert set(packed["labels"]) == set(LABELS)
    facts = files.read_json(made / "evidence" / "photos.json", "photos", "")
    assert facts["counts"]["test"] == {"cat": 6, "dog": 6, "owl": 6} and "problems" in facts
