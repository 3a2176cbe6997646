"""Near-duplicate groups: noisy copies and slow films together, different photos apart."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.twins import noisy, scenes
from tledge.data.near_duplicates import near_duplicate_groups


def test_noisy_copies_are_one_group() -> None:
    photos = scenes(10)
    groups = near_duplicate_groups(np.concatenate([photos, noisy(photos, 12), noisy(photos, 20, seed=1)]))
    assert groups.tolist() == [*range(10)] * 3


def test_different_photos_stay_apart() -> None:
    assert near_duplicate_groups(scenes(300)).tolist() == [*range(300)]


def test_exposure_alone_is_duplicate() -> None:
    photos = scenes(8)
    brighter = (photos * 0.92 + 8).astype(np.uint8)
    assert near_duplicate_groups(np.concatenate([photos, brighter])).tolist() == [*range(8)] * 2


def test_slow_film_is_one_group() -> None:
    first, last = (one.astype(float) for one in scenes(2, seed=5))
    film = np.stack([first + (last - first) * share for share in np.linspace(0, 1, 40)]).astype(np.uint8)
    groups = near_duplicate_groups(np.concatenate([film, scenes(20, seed=6)]))
    assert groups.tolist() == [0] * 40 + [*range(1, 21)]


def test_order_does_not_part_groups() -> None:
    photos = scenes(30)
    pairs = np.concatenate([photos, noisy(photos, 10)])
    order = np.random.default_rng(3).permutation(60)
    groups = near_duplicate_groups(pairs[order])
    twins = {tuple(sorted(np.flatnonzero(order % 30 == photo))) for photo in range(30)}
    assert {tuple(np.flatnonzero(groups == group)) for group in range(30)} == twins


def test_groups_reach_across_blocks() -> None:
    photos = scenes(300)
    groups = near_duplicate_groups(np.concatenate([photos, noisy(photos, 8)]))
    assert groups.tolist() == [*range(300)] * 2


def test_groups_numbered_by_appearance() -> None:
    first, second, third = scenes(3)
    groups = near_duplicate_groups(np.stack([second, first, second, third, first]))
    assert groups.tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (96, 64)])
def test_any_size_from_sixteen(shape: tuple[int, int]) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (4, 1, 1, 3), np.uint8)
    images = np.broadcast_to(photos, (4, *shape, 3))
    assert near_duplicate_groups(np.concatenate([images, images])).tolist() == [0, 1, 2, 3] * 2


def test_one_image_is_one_group() -> None:
    assert near_duplicate_groups(scenes(1)).tolist() == [0]


def test_two_images_grouped_if_equal() -> None:
    photos = scenes(2)
    assert near_duplicate_groups(photos).tolist() == [0, 1]
    assert near_duplicate_groups(photos[[0, 0]]).tolist() == [0, 0]


def test_all_equal_is_one_group() -> None:
    assert near_duplicate_groups(scenes(1).repeat(50, axis=0)).tolist() == [0] * 50


def test_similar_set_is_not_one_group() -> None:
    """In a set of one kind of scene, what is near is measured by what the set varies."""
    calm = (scenes(60) * 0.1 + 100).astype(np.uint8)
    assert near_duplicate_groups(calm).tolist() == [*range(60)]
