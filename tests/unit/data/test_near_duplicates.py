"""Near-duplicate groups: noisy copies and slow films together, different photos apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import all_pairs
from tests.helpers.twins import noisy, scenes
from tledge.data import near_duplicates, neighbours, thumbnails
from tledge.data.near_duplicates import near_duplicate_groups
from tledge.data.neighbours import Components
from tledge.progress import SILENT, Silent, Task


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


def drifting(count: int, seed: int) -> NDArray[np.uint8]:
    """Photos in chains: each is the one before with some change, or a new one; in any order."""
    rng = np.random.default_rng(seed)
    fresh = scenes(count, side=16, seed=seed).astype(float)
    photos = [fresh[0]]
    for number in range(1, count):
        step = rng.normal(0, rng.uniform(4, 24), fresh[0].shape)
        photos.append(photos[-1] + step if rng.random() < 0.7 else fresh[number])
    return np.stack(photos).clip(0, 255).astype(np.uint8)[rng.permutation(count)]


@pytest.mark.parametrize(("seed", "leaf"), [(0, 8), (1, 64), (2, 64), (3, 256)])
def test_same_groups_as_all_pairs(seed: int, leaf: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes near the limit of 16 levels decide on groups; the index decides as comparing all does."""
    monkeypatch.setattr(neighbours, "LEAF", leaf)
    photos = drifting(300, seed)
    assert near_duplicate_groups(photos).tolist() == all_pairs.groups(photos)


@pytest.mark.parametrize("above", [False, True])
def test_limit_is_exact(above: bool) -> None:
    """Thumbnails a hair nearer or farther than 16 levels, far from zero, one pair after another."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 200, (300, 768))] * 2)
    step = rng.choice([-1.0, 1.0], (300, 768)) * (16 + (1e-4 if above else -1e-4))
    points[300:] += step
    groups = near_duplicates._connected(points.astype(np.float32), 16.0**2 * 768, SILENT)
    assert len(set(groups.tolist())) == (600 if above else 300)


def test_fixed_camera_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images that are all near each other hardly any pair is verified."""
    monkeypatch.setattr(neighbours, "LEAF", 32)
    verified = 0
    wrapped = near_duplicates.Components.join

    def counting(components: Components, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        nonlocal verified
        verified += len(first)
        wrapped(components, first, second)

    monkeypatch.setattr(near_duplicates.Components, "join", counting)
    film = noisy(scenes(1, side=16).repeat(600, axis=0), 6)
    groups = near_duplicate_groups(np.concatenate([film, scenes(400, side=16, seed=1)]))
    assert groups.tolist() == [0] * 600 + [*range(1, 401)]
    assert verified < 20 * 600  # of 180,000 pairs


def test_noise_alone_is_compared_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise has no main directions, so the index excludes no pair of it; few are read to be verified."""
    read = 0
    wrapped = near_duplicates._join_close

    class Counting:
        def __init__(self, kept: thumbnails.Thumbnails) -> None:
            self.kept, self.shape = kept, kept.shape

        def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
            nonlocal read
            read += len(rows)
            return self.kept[rows]

    def counting(components: Components, kept: thumbnails.Thumbnails, *rest: Any) -> None:
        wrapped(components, Counting(kept), *rest)

    monkeypatch.setattr(near_duplicates, "_join_close", counting)
    film = noisy(scenes(1, side=16).repeat(600, axis=0), 9)
    assert near_duplicate_groups(film).tolist() == [*range(600)]
    assert read < 20 * 600  # of 180,000 pairs


@pytest.mark.parametrize("folder", [True, False])
def test_thumbnails_in_a_file(folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = drifting(300, 0)
    expected = near_duplicate_groups(photos).tolist()
    monkeypatch.setattr(thumbnails, "IN_MEMORY", 1000)
    assert near_duplicate_groups(photos, SILENT, tmp_path if folder else None).tolist() == expected
    assert list(tmp_path.iterdir()) == []


def test_progress_of_reading_and_comparing() -> None:
    seen: dict[str, int] = {}

    class Bar(Silent):
        def start(self, what: str, total: int | None = None) -> Task:
            task = Steps()
            task.name, seen[what] = what, 0
            assert total == 300
            return task

    class Steps:
        name = ""

        def advance(self, steps: int = 1, **_figures: object) -> None:
            seen[self.name] += steps

    near_duplicate_groups(drifting(300, 0), Bar())
    assert seen == {"thumbnails": 300, "near-duplicates": 300}


def test_no_images_have_no_groups() -> None:
    assert near_duplicate_groups(scenes(2)[:0]).tolist() == []
