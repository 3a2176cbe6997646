"""The source `tfds`: prepared sets of TensorFlow Datasets."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import fake_data
from tests.helpers.sources import LABELS, check_prepared, fails, options, prepared, read
from tledge.data import cache
from tledge.data.sources import tfds


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins of the four sets that the recipes name, and a set that TFDS does not know."""
    from tensorflow_datasets import features

    root = tmp_path_factory.mktemp("tfds")
    for name, (version, splits) in fake_data.TFDS_SETS.items():
        fake_data.tfds_set(root, name, version, {split: 9 - part for part, split in enumerate(splits)})
    extra = {"photo": (features.Image(), fake_data.photo(0)), "kind": (features.ClassLabel(names=["k"]), 0)}
    fake_data.tfds_set(root, "unheard_of", "1.2.3", {"a": 5, "b": 2}, LABELS, extra)
    return root


@pytest.fixture
def from_sets(sets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(sets))
    return sets


@pytest.mark.parametrize("name", fake_data.TFDS_SETS)
def test_tfds_reads_known_sets(from_sets: Path, name: str) -> None:
    splits = {split: 9 - part for part, split in enumerate(fake_data.TFDS_SETS[name][1])}
    found = read(tfds, name=name)
    assert Counter(one.split for one in found) == splits
    names = (from_sets / name / fake_data.TFDS_SETS[name][0] / "label.labels.txt").read_text().split()
    expected = Counter((split, names[n % len(names)]) for split in splits for n in range(splits[split]))
    assert Counter((one.split, one.label) for one in found) == expected


def test_tfds_labels_go_with_photos(from_sets: Path) -> None:
    made = {(one.split, one.photo): one.label for one in fake_data.examples({"a": 5, "b": 2}, LABELS)}
    found = read(tfds, name="unheard_of")
    assert {(one.split, one.read()): one.label for one in found} == made
    expected = {one.id: (one.label, one.split, one.read()) for one in found}
    check_prepared(prepared("tfds:unheard_of"), expected)


def test_tfds_order_and_unused_labels_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    fake_data.tfds_set(tmp_path, "unordered", "1.0.0", {"train": 2}, ("rock", "paper", "scissors"))
    made = prepared("tfds:unordered")
    assert (made.labels, made.origin) == (("rock", "paper", "scissors"), "source")
    assert sorted(made.label_indices.tolist()) == [0, 1]
    assert cache.open_cache(made.folder).source_order == made.labels  # for machines without the set


def test_tfds_other_features(from_sets: Path) -> None:
    found = read(tfds, name="unheard_of", image="photo", label="kind")
    assert {(one.label, one.read()) for one in found} == {("k", fake_data.photo(0))}


@pytest.mark.parametrize("feature", ["image", "label"])
def test_tfds_unknown_feature(from_sets: Path, feature: str) -> None:
    message = fails(tfds, name="unheard_of", **{feature: "none"})
    assert "has no feature 'none'; it has " in message
    assert all(known in message for known in ("image", "kind", "label", "photo"))


def test_tfds_fingerprint_has_sizes(from_sets: Path) -> None:
    text = tfds.scan(options(tfds, name="beans")).fingerprint()
    assert "beans/0.1.0" in text and "('train', 9), ('validation', 8)" in text


def test_tfds_chosen_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    fake_data.tfds_set(tmp_path, "tf_flowers", "3.0.1", {"train": 6}, ("tulips", "daisy"), size=(30, 50))
    dogs = ("n02085620-chihuahua", "n02085782-japanese_spaniel")
    fake_data.tfds_set(tmp_path, "stanford_dogs", "0.2.0", {"train": 4, "test": 2}, dogs)
    flowers = read(tfds, name="tf_flowers")
    assert Counter(one.label for one in flowers) == {"tulips": 3, "daisy": 3}
    assert Image.open(BytesIO(flowers[0].read())).size == (30, 50)
    assert {one.label for one in read(tfds, name="stanford_dogs")} == set(dogs)
