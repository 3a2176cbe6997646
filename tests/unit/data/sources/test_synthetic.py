"""The source `drawn`: the same bytes every time, balanced, and unlike between the splits."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.sources import read
from tledge.data.sources import synthetic, synthetic_hands
from tledge.errors import RecipeError

SMALL = {"train": 9, "test": 6, "size": 32}


def read_all(**options: int) -> dict[str, bytes]:
    return {record.id: record.read() for record in synthetic.scan({**SMALL, **options}).records()}


def test_same_options_same_bytes() -> None:
    assert read_all(seed=3) == read_all(seed=3)


def test_more_images_keep_earlier_ones() -> None:
    few, many = read_all(), read_all(train=12)
    assert len(many) == len(few) + 3
    assert few.items() <= many.items()


def test_other_seed_other_bytes() -> None:
    first, second = read_all(seed=0), read_all(seed=1)
    assert first.keys() == second.keys()
    assert all(first[key] != second[key] for key in first)


def test_splits_and_labels_balanced() -> None:
    records = list(synthetic.scan({}).records())
    counts = Counter((record.split, record.label) for record in records)
    assert counts == {
        (split, label): share
        for split, share in (("train", 600), ("test", 200))
        for label in ("paper", "rock", "scissors")
    }


def test_ids_unique_and_telling() -> None:
    records = list(synthetic.scan({}).records())
    assert len({record.id for record in records}) == len(records)
    assert records[1].id == "train/rock/0000"
    assert all(record.id.startswith(f"{record.split}/{record.label}/") for record in records)


@pytest.mark.parametrize("size", [16, 96, 131])
def test_size_is_honoured(size: int) -> None:
    record = next(iter(synthetic.scan({"size": size}).records()))
    image = Image.open(io.BytesIO(record.read()))
    assert (image.size, image.mode, image.format) == ((size, size), "RGB", "JPEG")


def test_no_two_images_equal() -> None:
    images = read_all()
    assert len(set(images.values())) == len(images) == 15


def test_splits_use_other_ranges() -> None:
    train, test = synthetic.RANGES["train"], synthetic.RANGES["test"]
    for field in dataclasses.fields(train):
        assert getattr(train, field.name) != getattr(test, field.name), field.name
    assert not set(train.sleeves) & set(test.sleeves)
    assert sum(train.skins) == pytest.approx(1.0) == sum(test.skins)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_background_draws(split: str) -> None:
    for kind in synthetic.RANGES[split].backgrounds:
        ground = synthetic._background(kind, 24, np.random.default_rng(0))
        assert ground.shape == (24, 24, 3)
        assert 0 <= ground.min() <= ground.max() <= 255


@pytest.mark.parametrize(
    "options",
    [{"train": 0}, {"test": -3}, {"size": 8}, {"size": 96.0}, {"seed": -1}, {"train": True}],
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    key = next(iter(options))
    with pytest.raises(RecipeError, match=f"{key} = .*expected a whole number"):
        synthetic.scan(options).records()


def test_unknown_key_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'pixels'.*train, test, size, seed"):
        synthetic.scan({"pixels": 96}).records()


def test_fingerprint_follows_the_options() -> None:
    assert synthetic.scan({}).fingerprint() == synthetic.scan(synthetic.OPTIONS).fingerprint()
    assert synthetic.scan({}).fingerprint() != synthetic.scan({"seed": 1}).fingerprint()


def test_fingerprint_follows_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = synthetic.scan({}).fingerprint()
    (tmp_path / "hands.py").write_text("other code")
    monkeypatch.setattr(synthetic_hands, "__file__", str(tmp_path / "hands.py"))
    assert synthetic.scan({}).fingerprint() != before


def test_record_read_can_pickle() -> None:
    record = next(iter(synthetic.scan(SMALL).records()))
    assert pickle.loads(pickle.dumps(record)).read() == record.read()


def test_drawn_is_counted() -> None:
    assert len(read(synthetic, train=5, test=2, size=16)) == 7
    with pytest.raises(RecipeError, match="train"):
        synthetic.scan({"train": 0}).count()
