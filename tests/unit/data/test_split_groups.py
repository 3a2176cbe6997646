"""Groups in splits: near-duplicates and regular expressions; a group stays on one side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.split_data import Rows, cache_of, data, lists, no_overlap, share
from tledge.data import near_duplicates, splits
from tledge.data.cache import Prepared, Row
from tledge.errors import DataError


def filmed(tmp_path: Path, films: int, frames: int) -> Prepared:
    """A cache of films: near-duplicate frames of different scenes, labels in turn."""
    cache = tmp_path / "filmed"
    cache.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (films, 4, 4, 3), np.uint8)
    scenes = coarse.repeat(8, axis=1).repeat(8, axis=2).repeat(frames, axis=0)
    noise = np.random.default_rng(1).integers(-8, 9, scenes.shape)
    np.save(cache / "images.npy", (scenes + noise).clip(0, 255).astype(np.uint8))
    rows = [
        Row(f"film{film}_{frame}", "cat" if film % 2 else "dog", "all", "")
        for film in range(films)
        for frame in range(frames)
    ]
    return cache_of(rows, cache)


def families(cache: Prepared, made: Rows) -> dict[str, set[str]]:
    """The part of the ids before the underscore, by split."""
    return {name: {cache.rows[row].id.split("_")[0] for row in rows.tolist()} for name, rows in made.items()}


def are_apart(found: dict[str, set[str]]) -> bool:
    return sum(map(len, found.values())) == len(set.union(*found.values()))


@pytest.mark.parametrize("group", ["near-duplicates", r"(film\d+)_"])
def test_groups_keep_films_together(tmp_path: Path, group: str) -> None:
    cache = filmed(tmp_path, films=40, frames=5)
    found = families(cache, splits.split(cache, data("all", share("all", 0.2), share("all", 0.25), group), 0))
    assert are_apart(found) and len(set.union(*found.values())) == 40
    assert len(found["validation"]) == 8
    assert not are_apart(
        families(cache, splits.split(cache, data("all", share("all", 0.2), share("all", 0.25)), 0))
    )


def test_groups_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("grouped again")

    cache = filmed(tmp_path, films=10, frames=3)
    wanted = data("all", share("all", 0.2), share("all", 0.2), "near-duplicates")
    first = splits.split(cache, wanted, seed=0)
    monkeypatch.setattr(near_duplicates, "near_duplicate_groups", refuse)
    assert lists(splits.split(cache, wanted, seed=0)) == lists(first)
    monkeypatch.setattr(near_duplicates, "GROUPING", near_duplicates.GROUPING + 1)
    with pytest.raises(AssertionError, match="grouped again"):
        splits.split(cache, wanted, seed=0)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_group_shares_near_fraction(tmp_path: Path, fraction: float) -> None:
    cache = filmed(tmp_path, films=40, frames=4)
    wanted = data("all", share("all", fraction), share("all", 0.1), "near-duplicates")
    made = splits.split(cache, wanted, seed=3)
    assert len(made["validation"]) == pytest.approx(160 * fraction, abs=4)


def people(sizes: list[int], labels: str = "abc") -> Prepared:
    """So many photos of each label by every person: groups that all classes share."""
    rows = [
        Row(f"p{person}_{label}{number}", label, "all", "")
        for label in labels
        for person, size in enumerate(sizes)
        for number in range(size)
    ]
    return cache_of(rows)


@pytest.mark.parametrize("seed", range(5))
def test_people_shared_by_classes_stay_apart(seed: int) -> None:
    cache = people([10, 12, 8, 11, 9, 10, 12, 8, 10, 10])
    made = splits.split(cache, data("all", share("all", 0.2), share("all", 0.2), r"^(p\d+)_"), seed)
    assert are_apart(families(cache, made)) and no_overlap(made)
    for name in ("validation", "test"):
        counts = splits.counts(cache, made)[name]
        assert all(count == pytest.approx(20, abs=6) for count in counts.values()), counts
    assert len(Counter(cache.rows[row].label for row in made["train"].tolist())) == 3


def uneven(seed: int, people: int = 40, labels: int = 20) -> Prepared:
    """People who each show some of the labels, and not equally often."""
    sizes = np.random.default_rng(seed).poisson(2.0, (people, labels))
    rows = [
        Row(f"p{person}_{label}-{number}", f"{label:02d}", "all", "")
        for person in range(people)
        for label in range(labels)
        for number in range(sizes[person, label])
    ]
    return cache_of(rows)


@pytest.mark.parametrize("seed", range(5))
def test_shared_groups_near_fraction(seed: int) -> None:
    """Each class may add people for its own sake, and every one brings the other classes along."""
    cache = uneven(seed)
    made = splits.split(cache, data("all", share("all", 0.15), share("all", 0.15), r"^(p\d+)_"), seed)
    shares = {name: len(rows) / len(cache.rows) for name, rows in made.items()}
    assert 0.1 < shares["validation"] < 0.22 and 0.1 < shares["test"] < 0.22, shares


def test_count_of_groups_is_near() -> None:
    cache = people([5] * 20)
    made = splits.split(cache, data("all", {"from": "all", "count": 60}, share("all", 0.2), r"^(p\d+)_"), 0)
    assert len(made["validation"]) == 60 and are_apart(families(cache, made))


@pytest.mark.parametrize("pattern", [r"^(q\d+)_", r"^(q\d+)?p"])
def test_id_without_group_is_named(pattern: str) -> None:
    """A group that takes no part in a match is no group either."""
    cache = people([2, 2, 2])
    with pytest.raises(DataError, match=r"group: .*does not match 18 ids, such as 'p0_a0'"):
        splits.split(cache, data("all", share("all", 0.3), share("all", 0.3), pattern), 0)


def test_groups_of_other_splits_do_not_matter() -> None:
    """Ids of a source split that nothing is taken from need not fit."""
    cache = cache_of([*people([4] * 10).rows, Row("stray", "a", "unlabelled", "")])
    made = splits.split(cache, data("all", share("all", 0.2), share("all", 0.2), r"^(p\d+)_"), 0)
    assert are_apart(families(cache, made)) and sum(map(len, made.values())) == 120
