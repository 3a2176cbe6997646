"""Made-up photos repeat, and their classes have colours."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from tests.helpers import fake_data


def test_fake_photos_repeat() -> None:
    one, again, other = (fake_data.photo(2, seed) for seed in (5, 5, 6))
    assert one == again != other
    assert Image.open(BytesIO(one)).size == fake_data.SIZE


def test_fake_classes_have_colours() -> None:
    def middle(index: int, seed: int) -> Any:
        pixels = np.asarray(Image.open(BytesIO(fake_data.photo(index, seed))), np.float32)
        return pixels[16:24, 20:28].mean((0, 1))

    for seed in range(20):
        apart = [np.abs(middle(index, seed) - middle(0, 99)).max() for index in range(4)]
        assert apart[0] < 15 and min(apart[1:]) > 60
