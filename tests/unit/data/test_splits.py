"""Splits: slices, unions, shares, counts, files, patterns and groups; disjoint, the same for a seed."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.split_data import cache_of, data, lists, no_overlap, share
from tledge.config import Data
from tledge.data import near_duplicates, splits
from tledge.data.cache import Prepared, Row
from tledge.errors import DataError

MANY = {("train", "cat"): 200, ("train", "dog"): 100, ("train", "emu"): 40, ("test", "cat"): 30}


def prepared(counts: dict[tuple[str, str], int], folder: Path = Path("none")) -> Prepared:
    """A cache with so many images of each (split, label), no pixels behind it."""
    rows = [
        Row(f"{split}/{label}/{index}", label, split, "")
        for (split, label), count in counts.items()
        for index in range(count)
    ]
    return cache_of(rows, folder)


def numbered(count: int, split: str = "train", files: int = 0) -> Prepared:
    """Images of one label in one source split, in `files` files where there are any."""
    rows = [
        Row(f"{split}/{n:04d}", "cat", split, "", file=f"part-{n * files // count:03d}" if files else "")
        for n in range(count)
    ]
    return cache_of(rows)


def test_splits_disjoint_and_complete() -> None:
    made = splits.split(prepared(MANY), Data(source="folder:x"), seed=1)
    assert list(made) == ["train", "validation", "test"]
    together = np.concatenate(list(made.values()))
    assert sorted(together.tolist()) == [*range(370)]
    assert all((np.diff(rows) > 0).all() for rows in made.values())


def test_split_same_for_a_seed() -> None:
    cache = prepared(MANY)
    first, again, other = (splits.split(cache, Data(source="folder:x"), seed) for seed in (1, 1, 2))
    assert lists(first) == lists(again)
    assert not np.array_equal(first["validation"], other["validation"])


def test_split_takes_share_by_class() -> None:
    cache = prepared(MANY)
    counts = splits.counts(cache, splits.split(cache, Data(source="folder:x"), seed=1))
    assert counts["validation"] == {"cat": 30, "dog": 15, "emu": 6}
    assert counts["train"] == {"cat": 170, "dog": 85, "emu": 34}
    assert counts["test"] == {"cat": 30, "dog": 0, "emu": 0}


def test_two_shares_of_one_split() -> None:
    cache = prepared({("all", "cat"): 100, ("all", "dog"): 50})
    made = splits.split(cache, data("all", share("all", 0.2), share("all", 0.2)), seed=0)
    counts = splits.counts(cache, made)
    assert counts["validation"] == counts["test"] == {"cat": 20, "dog": 10}
    assert counts["train"] == {"cat": 60, "dog": 30}


def test_unknown_split_is_explained() -> None:
    with pytest.raises(DataError, match=r"test: the source has no split 'tset'\. It has test, train\."):
        splits.split(prepared(MANY), data("train", share("train", 0.1), "tset"), seed=0)


@pytest.mark.parametrize(
    ("counts", "hint"),
    [
        (
            {("PlantVillage", "scab"): 9, ("PlantVillage", "rust"): 9},
            "If 'PlantVillage' only holds the folders",
        ),
        ({("apple", "red"): 9, ("pear", "green"): 9}, 'label_from = "path:{label}/*/*"'),
        ({("Training", "cat"): 9, ("extra", "cat"): 9}, ""),
    ],
)
def test_folders_that_are_no_splits_are_explained(counts: dict[tuple[str, str], int], hint: str) -> None:
    with pytest.raises(DataError, match="the source has no split 'train'") as refused:
        splits.split(prepared(counts), Data(source="folder:x"), seed=0)
    assert hint in str(refused.value) and ("If " in str(refused.value)) == bool(hint)


@pytest.mark.parametrize(("fraction", "photos"), [(0.1, 4), (0.2, 2), (0.001, 9)])
def test_share_of_few_photos_takes_one_of_each_class(fraction: float, photos: int) -> None:
    """A class with one photo keeps it for training."""
    several = {("train", label): photos for label in ("cat", "dog", "emu")}
    made = prepared(several | {("train", "fox"): 1, ("test", "cat"): 3})
    counts = splits.counts(made, splits.split(made, data("train", share("train", fraction), "test"), seed=0))
    assert counts["validation"] == {"cat": 1, "dog": 1, "emu": 1, "fox": 0} and counts["train"]["fox"] == 1


@pytest.mark.parametrize("validation", ["train", "train[5:5]"])
def test_empty_split_is_refused(validation: object) -> None:
    with pytest.raises(DataError, match="validation: no photo is left"):
        splits.split(prepared(MANY), data("train", validation, "test"), seed=0)


def test_photos_that_all_stay_together_are_named() -> None:
    made = prepared({("train", "cat"): 8, ("train", "dog"): 8, ("test", "cat"): 2})
    with pytest.raises(DataError, match=r"validation: no photo is left.*group = '\(t\)' too many"):
        splits.split(made, data("train", share("train", 0.2), "test", group="(t)"), 0)


def test_class_without_training_is_refused() -> None:
    cache = prepared({("train", "cat"): 9, ("train", "dog"): 1, ("test", "dog"): 3})
    with pytest.raises(DataError, match="train: no photo of dog is left"):
        splits.split(cache, data("train[:9]", "train[9:]", "test"), seed=0)
    two = prepared({("train", "cat"): 9, ("train", "dog"): 1, ("train", "emu"): 1, ("test", "dog"): 3})
    with pytest.raises(DataError, match="train: no photo of dog, emu is left"):
        splits.split(two, data("train[:9]", "train[9:]", "test"), seed=0)


@pytest.mark.parametrize(("group", "is_named"), [("none", False), (r"(\d+)$", True)])
def test_groups_are_blamed_only_where_there_are_some(group: str, is_named: bool) -> None:
    cache = prepared({("train", "cat"): 8, ("train", "dog"): 1, ("test", "dog"): 3})
    with pytest.raises(DataError, match="no photo of dog is left") as caught:
        splits.split(cache, data("train", share("train", 0.8), "test", group=group), seed=0)
    assert ("stay together" in str(caught.value)) == is_named


def test_single_label_is_refused() -> None:
    with pytest.raises(DataError, match=r"one label, 'cat'.*two labels or more"):
        splits.require_labels(numbered(10))
    splits.require_labels(prepared({("train", "cat"): 1, ("train", "dog"): 1}))


def test_counts_every_label() -> None:
    cache = prepared({("train", "cat"): 3, ("test", "dog"): 2})
    rows = {"train": np.array([0, 1, 2]), "test": np.array([3, 4]), "none": np.array([], np.int64)}
    assert splits.counts(cache, rows) == {
        "train": {"cat": 3, "dog": 0},
        "test": {"cat": 0, "dog": 2},
        "none": {"cat": 0, "dog": 0},
    }


@pytest.mark.parametrize(
    ("text", "count", "first", "last"),
    [
        ("train[:90%]", 10, 0, 8),
        ("train[90%:]", 3680, 3312, 3679),  # pets: 368 left
        ("train[:50%]", 3670, 0, 1834),
        ("train[:25%]", 10, 0, 1),  # 2.5 is rounded to even, as TFDS does
        ("train[:35%]", 10, 0, 3),  # 3.5 too
        ("train[33%:66%]", 10, 3, 6),
        ("train[:7]", 10, 0, 6),
        ("train[7:]", 10, 7, 9),
        ("train[-3:]", 10, 7, 9),
        ("train[-30%:]", 10, 7, 9),
        ("train[-50%:-2]", 10, 5, 7),
        ("train[:]", 10, 0, 9),
        ("train[:10]", 10, 0, 9),
        ("train[-10:]", 10, 0, 9),
    ],
)
def test_slice_by_worked_numbers(text: str, count: int, first: int, last: int) -> None:
    rest = [Row(f"test/{number}", "cat", name, "") for number, name in enumerate(("more", "last"))]
    cache = cache_of([*numbered(count).rows, *rest])
    made = splits.split(cache, data(text, "more", "last"), seed=0)
    assert made["train"].tolist() == [*range(first, last + 1)]


def test_slices_ignore_the_seed() -> None:
    wanted = data("train[:80%]", "train[80%:90%]", "train[90%:]")
    first, other = (splits.split(numbered(50), wanted, seed) for seed in (1, 2))
    assert lists(first) == lists(other)
    assert [len(rows) for rows in first.values()] == [40, 5, 5]


def test_slice_stays_in_its_split() -> None:
    cache = cache_of([*numbered(10, "test").rows, *numbered(20, "train").rows])
    made = splits.split(cache, data("train[:50%]", "train[50%:]", "test[-1:]"), seed=0)
    assert lists(made) == [[*range(10, 20)], [*range(20, 30)], [9]]


def test_overlapping_slices_are_refused() -> None:
    with pytest.raises(DataError, match="validation: 5 of its photos are already in another part"):
        splits.split(numbered(20), data("train[:15]", "train[10:]", "train[-1:]"), seed=0)


@pytest.mark.parametrize("text", ["train[:21]", "train[-21:]", "train[25:]"])
def test_slice_beyond_the_end_is_refused(text: str) -> None:
    """TFDS refuses it too: somebody counts on photos that are not there."""
    cache = cache_of([*numbered(20).rows, *numbered(2, "test").rows])
    with pytest.raises(DataError, match=r"train: .*20 photos"):
        splits.split(cache, data(text, "test[:1]", "test[1:]"), seed=0)


def test_whole_split_takes_what_slices_left() -> None:
    made = splits.split(numbered(20), data("train", "train[:3]", "train[-2:]"), seed=0)
    assert lists(made) == [[*range(3, 18)], [0, 1, 2], [18, 19]]


def test_union_joins_splits() -> None:
    cache = cache_of([*numbered(4, "a").rows, *numbered(4, "b").rows, *numbered(4, "c").rows])
    made = splits.split(cache, data("a+b[:50%]", "b[50%:]", "c"), seed=0)
    assert lists(made) == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9, 10, 11]]


def test_union_with_what_is_left() -> None:
    cache = cache_of([*numbered(4, "a").rows, *numbered(4, "b").rows])
    made = splits.split(cache, data(" a + b ", {"from": "b", "count": 1}, "a[-1:]"), seed=0)
    assert no_overlap(made)
    assert [len(rows) for rows in made.values()] == [6, 1, 1]


def test_union_names_unknown_part() -> None:
    with pytest.raises(DataError, match="train: the source has no split 'extra'"):
        splits.split(prepared(MANY), data("train+extra", share("train", 0.1), "test"), seed=0)


def test_count_is_exact_and_by_class() -> None:
    cache = prepared(MANY)
    made = splits.split(cache, data("train", {"from": "train", "count": 101}, "test"), seed=3)
    assert len(made["validation"]) == 101
    # 101 * (200, 100, 40) / 340 = 59.4, 29.7, 11.9: the largest remainders are rounded up
    assert splits.counts(cache, made)["validation"] == {"cat": 59, "dog": 30, "emu": 12}


def test_two_counts_of_one_split() -> None:
    cache = prepared({("all", "cat"): 30, ("all", "dog"): 30})
    parts = {"from": "all", "count": 20}
    made = splits.split(cache, data("all", parts, parts), seed=0)
    assert [len(rows) for rows in made.values()] == [20, 20, 20] and no_overlap(made)


@pytest.mark.parametrize("test", [{"from": "test", "count": 31}, share("test", 0.9)])
def test_share_that_is_not_there_is_refused(test: object) -> None:
    """20 of the 30 test photos are in the validation split: fewer than asked for is no answer."""
    cache = prepared({("train", "cat"): 30, ("test", "cat"): 30})
    with pytest.raises(DataError, match="test: "):
        splits.split(cache, data("train", {"from": "test", "count": 20}, test), seed=0)


def test_photos_of_one_class_may_be_one_too_few() -> None:
    """A share is that of about so many: part of a photo that is not there is no error, a whole one is."""
    cache = prepared({("train", "cat"): 30, ("test", "cat"): 30})
    taken = {"from": "test", "count": 20}
    made = splits.split(cache, data("train", taken, share("test", 10.9 / 30)), seed=0)
    assert len(made["test"]) == 10
    with pytest.raises(DataError, match="test: asks for 11 photos of cat, 10 are left"):
        splits.split(cache, data("train", taken, {"from": "test", "count": 11}), seed=0)


def test_groups_are_not_blamed_where_each_photo_is_alone() -> None:
    with pytest.raises(DataError, match="no photo is left for this split") as caught:
        splits.split(prepared(MANY), data("train", "train[5:5]", "test", group="none"), seed=0)
    assert "stay together" not in str(caught.value)


def test_share_of_a_slice() -> None:
    made = splits.split(numbered(100), data("train", share("train[:50%]", 0.2), "train[90:]"), seed=0)
    assert len(made["validation"]) == 10 and made["validation"].max() < 50
    assert [len(made["train"]), len(made["test"])] == [80, 10]


def test_whole_files_go_to_one_side() -> None:
    cache = numbered(160, files=16)
    part = {"from": "train", "files": 0.19}  # 3.04 of 16
    made = splits.split(cache, data("train", part, part), seed=0)
    files = [{cache.rows[row].file for row in rows.tolist()} for rows in made.values()]
    assert [len(one) for one in files] == [10, 3, 3]
    assert no_overlap(made) and len(set.union(*files)) == 16
    again, other = (splits.split(cache, data("train", part, part), seed) for seed in (0, 1))
    assert lists(made) == lists(again) != lists(other)


@pytest.mark.parametrize(("share_of", "count"), [(0.29, 29), (0.57, 57), (0.07, 7), (0.011, 1), (0.001, 1)])
def test_share_of_files_is_rounded_down(share_of: float, count: int) -> None:
    """100 * .29 is 28.999... in floating point; it means 29 files."""
    cache = cache_of([*numbered(100, files=100).rows, *numbered(1, "test").rows])
    made = splits.split(cache, data("train", {"from": "train", "files": share_of}, "test"), seed=0)
    assert len(made["validation"]) == count


def test_too_few_files_are_refused() -> None:
    part = {"from": "train", "files": 0.5}
    with pytest.raises(DataError, match=r"test: the photos are in 2 files.*fraction of the photos"):
        splits.split(numbered(20, files=2), data("train", part, part), seed=0)


def test_files_where_there_are_none() -> None:
    cache = cache_of([*numbered(20).rows, *numbered(2, "test").rows])
    with pytest.raises(DataError, match="fraction of the photos"):
        splits.split(cache, data("train", {"from": "train", "files": 0.5}, "test"), seed=0)


def test_pattern_takes_matching_ids() -> None:
    cache = prepared({("train", "cat"): 20, ("train", "dog"): 20, ("test", "cat"): 3})
    made = splits.split(cache, data("train", {"from": "train", "pattern": "*/1?"}, "test"), seed=0)
    assert len(made["validation"]) == 20
    assert all(cache.rows[row].id[-2] == "1" for row in made["validation"].tolist())
    assert all(cache.rows[row].id[-2] != "1" for row in made["train"].tolist())


def test_pattern_minds_case() -> None:
    cache = prepared({("train", "cat"): 20, ("test", "cat"): 3})
    with pytest.raises(DataError, match="validation"):
        splits.split(cache, data("train", {"from": "train", "pattern": "*CAT*"}, "test"), seed=0)


def test_pattern_without_match_is_named() -> None:
    with pytest.raises(DataError, match=r"validation: .*'\*_val_\*'.*train/cat/"):
        splits.split(prepared(MANY), data("train", {"from": "train", "pattern": "*_val_*"}, "test"), seed=0)


def test_overlapping_patterns_are_refused() -> None:
    parts = [{"from": "train", "pattern": pattern} for pattern in ("*/cat/*", "*/1*")]
    with pytest.raises(DataError, match="test: 111 of its photos are already in another part"):
        splits.split(prepared(MANY), data("train", *parts), seed=0)


def test_halves_of_odd_classes() -> None:
    cache = prepared({("train", "cat"): 5, ("test", "cat"): 15, ("test", "dog"): 7, ("train", "dog"): 5})
    made = splits.split(cache, data("train", share("test", 0.5), share("test", 0.5)), seed=0)
    assert [len(made["validation"]), len(made["test"])] == [12, 10]


def test_read_only_cache_is_grouped_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is computed is not kept where it cannot be."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(near_duplicates, "near_duplicate_groups", lambda *_arguments: np.arange(3))
    monkeypatch.setattr(Prepared, "images", lambda _self: None)
    made = prepared({("train", "cat"): 3}, tmp_path)
    assert near_duplicates.groups_of(made).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(3))
def test_distance_of_groups_is_that_of_vectors(seed: int) -> None:
    """To the bit: what is left out are classes that the group has no photo of."""
    rng = np.random.default_rng(seed)
    totals, goals = rng.integers(0, 9, 12).astype(float), rng.uniform(0, 9, 12)
    for classes in (1, 2, 5):
        size = {int(label): int(rng.integers(1, 5)) for label in rng.choice(12, classes, replace=False)}
        vector = np.array([float(size.get(label, 0)) for label in range(12)])
        expected = (vector * (2 * (totals - goals) + vector)).sum()
        assert splits._distance_change(size, totals, goals) == expected


def test_memory_of_many_classes_is_small() -> None:
    """A vector of all classes for each photo took 24 MB here, and 300 MB for 2,000 classes of 10."""
    labels = np.arange(3000) % 1000
    tracemalloc.start()
    chosen = splits._choose_groups(np.arange(3000), labels, np.ones(1000), seed=0)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(chosen) == 1000 and peak < 4 << 20
