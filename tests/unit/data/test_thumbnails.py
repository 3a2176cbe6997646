"""Thumbnails: what they average, how they turn."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.twins import scenes
from tledge.data.thumbnails import box_means, shrink, shrink_all


def test_boxes_are_averaged() -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 48, 3), np.uint8)
    wanted = images.reshape(70, 4, 8, 4, 12, 3).mean((2, 4))
    assert np.allclose(box_means(images, 4), wanted.reshape(70, -1), atol=1e-3)


@pytest.mark.parametrize("side", [16, 17, 96, 100])
def test_turned_image_shrinks_to_the_same(side: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    for turned in (np.rot90, np.fliplr):
        whole, small = np.ascontiguousarray(turned(image)), shrink(image, 16)
        assert np.abs(shrink(whole, 16) - turned(small)).max() <= 1


def test_chosen_rows_are_shrunk() -> None:
    images, rows = scenes(70), np.array([69, 3, 3])
    expected = np.stack([shrink(images[row], 16) for row in rows])
    assert np.array_equal(shrink_all(images, rows, 16), expected)
