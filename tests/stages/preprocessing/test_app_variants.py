"""Ways in which devices prepare photos otherwise, beside TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.app_variants import SIZES, noise
from tledge.preprocessing import app_variants
from tledge.preprocessing.app_variants import UprightPhoto

Pixels = NDArray[np.uint8]


@pytest.mark.parametrize("size", SIZES)
def test_tensorflow_resizes_alike(size: tuple[int, int]) -> None:
    import tensorflow as tf

    source = noise(24, 40)
    wanted = tf.image.resize(source, size).numpy()
    assert np.abs(app_variants.bilinear(UprightPhoto(source), size) - wanted).max() <= 0.501
    wanted = tf.image.resize(source, size, "nearest").numpy()
    assert np.array_equal(app_variants.nearest(UprightPhoto(source), size), wanted)
    if 24 % size[0] == 0 and 40 % size[1] == 0:
        wanted = tf.image.resize(source, size, "area").numpy()
        assert np.abs(app_variants.area(UprightPhoto(source), size) - wanted).max() <= 0.501
