"""The prepared cache, its splits, and what is picked from them."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tledge import dataset, images
from tledge.dataset import Prepared, Row
from tledge.errors import DataError, MissingError, RecipeError, RunError
from tledge.tables import Data, Splits, Take

Pixels = NDArray[np.uint8]
Rows = dict[str, NDArray[np.int64]]


def pixels(seed: int, side: int = 20) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def photo(seed: int, kind: str = "PNG") -> bytes:
    out = BytesIO()
    Image.fromarray(pixels(seed)).save(out, kind)
    return out.getvalue()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches lie in this test."""
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of two labels in two splits: 3 and 2 of each label."""
    for number, (split, label) in enumerate((s, lab) for s in ("train", "test") for lab in ("cat", "dog")):
        place = tmp_path / "photos" / split / label
        place.mkdir(parents=True)
        for index in range(3 if split == "train" else 2):
            kind = ("png", "jpeg")[index % 2]
            (place / f"{index}.{kind}").write_bytes(photo(10 * number + index, kind))
    return tmp_path / "photos"


def data_of(folder: Path, **parts: str) -> Data:
    return Data(source=f"folder:{folder}", **parts)  # type: ignore[arg-type]


def refuse(*_arguments: object) -> None:
    raise AssertionError("decoded again")


def test_every_photo_is_prepared(folder: Path) -> None:
    made = dataset.prepare(data_of(folder), 16)
    assert made.labels == ("cat", "dog")
    assert [row.id for row in made.rows][:2] == ["test/cat/0.png", "test/cat/1.jpeg"]
    assert made.label_indices().tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1]
    assert made.images().shape == (10, 16, 16, 3)
    for row, found in zip(made.rows, made.images(), strict=True):
        assert np.array_equal(found, images.prepare(folder / row.id, (16, 16)))


def test_rows_know_their_photo(folder: Path) -> None:
    for row in dataset.prepare(data_of(folder), 16).rows:
        assert row.sha256 == hashlib.sha256((folder / row.id).read_bytes()).hexdigest()
        assert row.split == row.id.split("/")[0]
        assert row.label == row.id.split("/")[1]


def test_originals_are_kept_unchanged(folder: Path) -> None:
    made = dataset.prepare(data_of(folder), 16)
    for row in made.rows:
        assert (made.folder / "originals" / row.original).read_bytes() == (folder / row.id).read_bytes()
    assert len({row.original for row in made.rows}) == 10


def test_few_originals_a_class(tmp_path: Path) -> None:
    (tmp_path / "many" / "cat").mkdir(parents=True)
    for index in range(dataset.ORIGINALS + 3):
        (tmp_path / "many" / "cat" / f"{index}.png").write_bytes(photo(index))
    made = dataset.prepare(data_of(tmp_path / "many"), 16)
    assert sum(row.original != "" for row in made.rows) == dataset.ORIGINALS


def test_second_call_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataset.prepare(data_of(folder), 16)
    monkeypatch.setattr(images, "prepare", refuse)
    assert dataset.prepare(data_of(folder), 16) == first


def test_changed_photo_other_cache(folder: Path, root: Path) -> None:
    first = dataset.prepare(data_of(folder), 16)
    (folder / "train" / "cat" / "0.png").write_bytes(photo(99))
    second = dataset.prepare(data_of(folder), 16)
    assert second.folder != first.folder
    assert not np.array_equal(second.images(), first.images())
    assert len(list(root.iterdir())) == 2


def test_other_size_other_cache(folder: Path) -> None:
    assert dataset.prepare(data_of(folder), 16).folder != dataset.prepare(data_of(folder), 24).folder


def test_bad_photo_stops_cleanly(folder: Path, root: Path) -> None:
    (folder / "train" / "dog" / "bad.png").write_bytes(photo(1)[:200])
    with pytest.raises(DataError, match=r'train/dog/bad\.png: .*damaged.*on_bad = "skip"'):
        dataset.prepare(data_of(folder), 16)
    assert list(root.iterdir()) == []


def test_bad_photo_is_skipped(folder: Path) -> None:
    (folder / "train" / "dog" / "bad.png").write_bytes(b"no photo")
    made = dataset.prepare(data_of(folder, on_bad="skip"), 16)
    assert (len(made.rows), len(made.images())) == (10, 10)
    assert len(made.skipped) == 1
    assert made.skipped[0].startswith("train/dog/bad.png: ")


def test_only_bad_photos_fail(tmp_path: Path, root: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "bad.png").write_bytes(b"no photo")
    with pytest.raises(DataError, match="No photo could be used; 1 did not decode"):
        dataset.prepare(data_of(tmp_path / "photos", on_bad="skip"), 16)
    assert list(root.iterdir()) == []


def test_missing_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder of photos"):
        dataset.prepare(data_of(tmp_path / "nowhere"), 16)


def test_folder_without_path_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises((MissingError, RecipeError), match="folder"):
        dataset.prepare(Data(source="folder"), 16)


def test_mixed_depths_are_refused(folder: Path) -> None:
    (folder / "train" / "stray.png").write_bytes(photo(1))
    with pytest.raises(DataError, match=r"<split>/<label>/photo.*depths \[2, 3\]"):
        dataset.prepare(data_of(folder), 16)


def test_unknown_option_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"no option 'depth'\. Its options: path"):
        dataset.prepare(replace(data_of(folder), options={"depth": 3}), 16)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}], "labels": [], "skipped": []}'])
def test_damaged_cache_is_run_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(RunError, match=r"index\.json"):
        dataset.open_cache(tmp_path)


def test_vanished_cache_is_run_error(folder: Path) -> None:
    made = dataset.prepare(data_of(folder), 16)
    shutil.rmtree(made.folder)
    with pytest.raises(RunError, match="`tledge data RECIPE`"):
        dataset.open_cache(made.folder)


def prepared(counts: dict[tuple[str, str], int], folder: Path = Path("none")) -> Prepared:
    """A cache with so many images of each (split, label), no pixels behind it."""
    rows = [
        Row(f"{split}/{label}/{index}", label, split, "", f"{label}{index}" if index < 6 else "")
        for (split, label), count in counts.items()
        for index in range(count)
    ]
    return Prepared(folder, tuple(sorted({row.label for row in rows})), tuple(rows), ())


MANY = {("train", "cat"): 200, ("train", "dog"): 100, ("train", "emu"): 40, ("test", "cat"): 30}


def splits_of(*, train: Take, validation: Take, test: Take, group: str = "none") -> Data:
    return Data(source="folder:x", group=group, splits=Splits(train, validation, test))


def test_splits_disjoint_and_complete() -> None:
    made = dataset.split(prepared(MANY), Data(source="folder:x"), seed=1)
    assert list(made) == ["train", "validation", "test"]
    together = np.concatenate(list(made.values()))
    assert sorted(together.tolist()) == [*range(370)]
    assert all((np.diff(rows) > 0).all() for rows in made.values())


def test_split_same_for_a_seed() -> None:
    cache = prepared(MANY)
    first, again, other = (dataset.split(cache, Data(source="folder:x"), seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["validation"], other["validation"])


def test_split_takes_share_by_class() -> None:
    cache = prepared(MANY)
    made = dataset.split(cache, Data(source="folder:x"), seed=1)
    counts = dataset.counts(cache, made)
    assert counts["validation"] == {"cat": 30, "dog": 15, "emu": 6}
    assert counts["train"] == {"cat": 170, "dog": 85, "emu": 34}
    assert counts["test"] == {"cat": 30, "dog": 0, "emu": 0}


def test_two_shares_of_one_split() -> None:
    cache = prepared({("all", "cat"): 100, ("all", "dog"): 50})
    share = Take("all", 0.2)
    made = dataset.split(cache, splits_of(train=Take("all"), validation=share, test=share), seed=0)
    counts = dataset.counts(cache, made)
    assert counts["validation"] == {"cat": 20, "dog": 10}
    assert counts["test"] == {"cat": 20, "dog": 10}
    assert counts["train"] == {"cat": 60, "dog": 30}


def test_unknown_split_is_explained() -> None:
    wanted = splits_of(train=Take("train"), validation=Take("train", 0.1), test=Take("tset"))
    with pytest.raises(DataError, match=r"test: the source has no split 'tset'\. It has test, train\."):
        dataset.split(prepared(MANY), wanted, seed=0)


def test_empty_split_is_refused() -> None:
    wanted = splits_of(train=Take("train"), validation=Take("test", 0.001), test=Take("test"))
    with pytest.raises(DataError, match="validation: no photo is left"):
        dataset.split(prepared(MANY), wanted, seed=0)
    twice = splits_of(train=Take("train"), validation=Take("train"), test=Take("test"))
    with pytest.raises(DataError, match="no photo is left"):
        dataset.split(prepared(MANY), twice, seed=0)


def filmed(tmp_path: Path, films: int, frames: int) -> Prepared:
    """A cache of films: near-duplicate frames of different scenes, labels in turn."""
    cache = tmp_path / "filmed"
    cache.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (films, 4, 4, 3), np.uint8)
    scenes = coarse.repeat(8, axis=1).repeat(8, axis=2).repeat(frames, axis=0)
    noise = np.random.default_rng(1).integers(-8, 9, scenes.shape)
    np.save(cache / "images.npy", (scenes + noise).clip(0, 255).astype(np.uint8))
    rows = [
        Row(f"{film}/{frame}", "cat" if film % 2 else "dog", "all", "")
        for film in range(films)
        for frame in range(frames)
    ]
    return Prepared(cache, ("cat", "dog"), tuple(rows), ())


def films_of(cache: Prepared, made: Rows) -> dict[str, set[str]]:
    return {name: {cache.rows[row].id.split("/")[0] for row in rows} for name, rows in made.items()}


def test_groups_keep_films_together(tmp_path: Path) -> None:
    cache = filmed(tmp_path, films=40, frames=5)
    shares = {"train": Take("all"), "validation": Take("all", 0.2), "test": Take("all", 0.25)}
    found = films_of(cache, dataset.split(cache, splits_of(**shares, group="near-duplicates"), seed=0))
    assert sum(len(films) for films in found.values()) == 40
    assert len(found["validation"]) == 8
    loose = films_of(cache, dataset.split(cache, splits_of(**shares), seed=0))
    assert loose["train"] & loose["validation"]


def test_groups_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filmed(tmp_path, films=10, frames=3)
    shares = {"train": Take("all"), "validation": Take("all", 0.2), "test": Take("all", 0.2)}
    first = dataset.split(cache, splits_of(**shares, group="near-duplicates"), seed=0)
    monkeypatch.setattr(dataset, "near_duplicate_groups", refuse)
    again = dataset.split(cache, splits_of(**shares, group="near-duplicates"), seed=0)
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_group_shares_near_fraction(tmp_path: Path, fraction: float) -> None:
    cache = filmed(tmp_path, films=40, frames=4)
    wanted = splits_of(
        train=Take("all"), validation=Take("all", fraction), test=Take("all", 0.1), group="near-duplicates"
    )
    made = dataset.split(cache, wanted, seed=3)
    assert len(made["validation"]) == pytest.approx(160 * fraction, abs=4)


def test_counts_every_label() -> None:
    cache = prepared({("train", "cat"): 3, ("test", "dog"): 2})
    rows = {"train": np.array([0, 1, 2]), "test": np.array([3, 4]), "none": np.array([], np.int64)}
    assert dataset.counts(cache, rows) == {
        "train": {"cat": 3, "dog": 0},
        "test": {"cat": 0, "dog": 2},
        "none": {"cat": 0, "dog": 0},
    }


def test_originals_picked_in_turn() -> None:
    cache = prepared({("test", "cat"): 10, ("test", "dog"): 2, ("test", "emu"): 4})
    picked = dataset.pick_originals(cache, np.arange(16), 8)
    assert [cache.rows[row].label for row in picked] == ["cat", "dog", "emu"] * 2 + ["cat", "emu"]
    assert len(set(picked)) == 8


def test_only_kept_originals_picked() -> None:
    cache = prepared({("test", "cat"): 10, ("test", "dog"): 2})
    assert len(dataset.pick_originals(cache, np.arange(12), 100)) == 8
    assert dataset.pick_originals(cache, np.arange(6, 10), 100) == []
    assert dataset.pick_originals(cache, np.arange(12), 0) == []


def test_classes_take_turns() -> None:
    labels = np.array([0] * 90 + [1] * 8 + [2] * 2)
    chosen = dataset.by_class_in_turn(labels, 20, seed=0)
    assert Counter(labels[chosen].tolist()) == {0: 10, 1: 8, 2: 2}
    assert (np.diff(chosen) > 0).all()


def test_turns_are_balanced_and_seeded() -> None:
    labels = np.arange(300) % 3
    first, again, other = (dataset.by_class_in_turn(labels, 31, seed) for seed in (1, 1, 2))
    assert sorted(Counter(labels[first].tolist()).values()) == [10, 10, 11]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_turns_end_with_the_images() -> None:
    assert dataset.by_class_in_turn(np.array([0, 1, 1]), 10, seed=0).tolist() == [0, 1, 2]
    assert dataset.by_class_in_turn(np.array([], np.int64), 10, seed=0).tolist() == []
