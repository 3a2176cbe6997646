"""Stages trained on photos that are decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import fake_data
from tests.helpers.recipes import tiny_recipe
from tests.helpers.streams import LABELS, check_streamed_as_cached
from tledge.config import Data
from tledge.data import prepare, splits
from tledge.data.streaming import OneHot
from tledge.errors import DataError
from tledge.recipe import loader


@pytest.fixture
def photos(cache_root: Path, tmp_path: Path) -> Path:
    return fake_data.photos(tmp_path / "photos", {"train": 12, "test": 6}, LABELS)


@pytest.fixture
def data(photos: Path) -> Data:
    return Data(source=f"folder:{photos}", cache=False)


def from_tfrecord(tmp_path: Path) -> Data:
    pattern = fake_data.tfrecords(tmp_path / "records", {"a": 4, "deep/b": 5, "c": 1}, LABELS, named=True)
    return Data(source=f"tfrecord:{pattern.replace('*', '**/*')}")


def from_tfds(tmp_path: Path) -> Data:
    os.environ["TFDS_DATA_DIR"] = str(
        fake_data.tfds_set(tmp_path / "tfds", "beans", "0.1.0", {"train": 5, "test": 4})
    )
    return Data(source="tfds:beans")


@pytest.mark.parametrize("make", [from_tfrecord, from_tfds])
def test_streamed_as_cached(
    cache_root: Path, tmp_path: Path, make: Callable[[Path], Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", "")
    check_streamed_as_cached(make(tmp_path))


STAGES = """name = "head"
epochs = 1
batch_size = 8
[[stage]]
name = "all"
epochs = 1
unfreeze = "all"
batch_norm = "train"
batch_size = 8
class_weights = "balanced"
"""


def test_same_weights_with_and_without_cache(cache_root: Path, tmp_path: Path) -> None:
    """The head on what frozen layers gave once, then the whole network on pixels."""
    from tledge.training import pipeline

    photos = fake_data.photos(tmp_path / "photos", {"train": 24, "test": 6}, LABELS)
    runs = []
    for cache in ("true", "false"):
        text = tiny_recipe(f'source = "folder:{photos}"\ncache = {cache}', STAGES)
        (tmp_path / "r.toml").write_text(text)
        runs.append(pipeline.train(loader.load(tmp_path / "r.toml"), text, tmp_path / cache))
    for name in ("model.keras", "golden.npz", "labels.txt"):
        assert (tmp_path / "true" / name).read_bytes() == (tmp_path / "false" / name).read_bytes()
    assert runs[0].test == runs[1].test and runs[0].cache != runs[1].cache
    assert (Path(runs[0].cache) / "images.npy").is_file()
    assert not list(Path(runs[1].cache).rglob("images.npy"))


def test_photo_changed_in_training_is_named(data: Data, photos: Path, tmp_path: Path) -> None:
    """The backend would say UnknownError, and half of it in C++."""
    from tests.helpers.fake_models import small_net
    from tledge.config import Stage
    from tledge.progress import SILENT
    from tledge.training import batches, checkpoint, stage

    made = prepare.prepare_dataset(data, 32)
    rows = splits.split(made, data, 0)
    labels = OneHot(made.label_indices, 3)
    train, held_out = (
        batches.Examples(made.images(), labels, rows[name]) for name in ("train", "validation")
    )
    changed = made.rows[int(rows["train"][-1])].id
    (photos / changed).write_bytes(b"another photo")
    with pytest.raises(DataError, match=rf"{changed}: not the photo"):
        stage.fit(
            small_net(), Stage(epochs=1, batch_size=2), checkpoint.State(), train, held_out,
            seed=0, checkpoint=tmp_path / "state.npz", progress=SILENT,
        )  # fmt: skip
