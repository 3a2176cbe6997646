"""How a preprocessing is measured and composed."""

from __future__ import annotations

import numpy as np
import pytest

from tledge.adoption import affine
from tledge.adoption.affine import IN_BGR, Affine
from tledge.preprocessing.scaling import AROUND_ZERO, CAFFE, SCALINGS, TORCH, Scaling

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: scaling.name)
def test_scaling_as_affine_is_the_scaling(scaling: Scaling) -> None:
    found = affine.of_scaling(scaling)
    values = IMAGES[..., list(found.order)] * np.array(found.scale) + np.array(found.offset)
    np.testing.assert_allclose(values, scaling.apply(IMAGES), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("scaling", [CAFFE, TORCH], ids=lambda scaling: scaling.name)
def test_preprocessing_is_measured(scaling: Scaling) -> None:
    found = affine.measure(scaling.apply, (4, 5))  # type: ignore[arg-type]
    expected = affine.of_scaling(scaling)
    assert found is not None and found.order == expected.order
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-4)
    np.testing.assert_allclose(found.offset, expected.offset, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [np.square, lambda x: x[:, ::-1], lambda x: x.mean(-1, keepdims=True)])
def test_what_is_no_scaling_of_channels_is_none(function: object) -> None:
    assert affine.measure(function, (4, 5)) is None  # type: ignore[arg-type]


def test_steps_compose() -> None:
    first, second = affine.of_scaling(AROUND_ZERO), Affine((2.0, 3.0, 4.0), (1.0, 0.0, -1.0), IN_BGR)
    both = second.after(first)
    once = AROUND_ZERO.apply(IMAGES)[..., ::-1] * np.array(second.scale) + np.array(second.offset)
    np.testing.assert_allclose(
        IMAGES[..., list(both.order)] * np.array(both.scale) + both.offset, once, atol=1e-4
    )
    assert Affine().after(second) == second
