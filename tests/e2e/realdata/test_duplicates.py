"""Twins among real photos."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.twins import SAVED_AGAIN, TURNED, halved, jpeg, twins


@pytest.mark.parametrize("name", ["flowers", "beans"])
def test_twins_among_real_photos(name: str, real_data: Path) -> None:
    """Different photos are no twins; every one finds the copies of it that are planted."""
    paths = sorted((real_data / "photos" / name / "train").rglob("*.jpg"))[::4]
    photos = [path.read_bytes() for path in paths]
    copies = [jpeg(halved(Image.open(path).convert("RGB")), 75) for path in paths]
    turned = [jpeg(Image.open(path).convert("RGB"), 85, orientation=6) for path in paths]
    assert twins(*photos, size=160) == []
    for made, kind in ((copies, SAVED_AGAIN), (turned, TURNED)):
        found = twins(*photos, *made, size=160)
        assert {(twin.second - twin.first, twin.kind) for twin in found} == {(len(photos), kind)}
        assert len(found) > 0.97 * len(photos)
