"""Photos decoded when they are asked for, and stages that hold no split in memory."""

from __future__ import annotations

import os
import shutil
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_data
from tests.helpers.photo_folders import tree
from tests.helpers.streams import LABELS, SIDE, check_streamed_as_cached
from tledge.config import Data
from tledge.data import cache_writer, prepare, splits, streaming
from tledge.data.cache import Prepared
from tledge.data.near_duplicates import groups_of
from tledge.data.sources import folder as folder_source
from tledge.data.streaming import OneHot, StreamedImages, in_batches
from tledge.data.thumbnails import box_means
from tledge.errors import DataError, RecipeError
from tledge.preprocessing import image


@pytest.fixture
def photos(cache_root: Path, tmp_path: Path) -> Path:
    return fake_data.photos(tmp_path / "photos", {"train": 12, "test": 6}, LABELS)


@pytest.fixture
def data(photos: Path) -> Data:
    return Data(source=f"folder:{photos}", cache=False)


@pytest.fixture
def streamed(data: Data) -> Prepared:
    return prepare.prepare_dataset(data, SIDE)


@pytest.fixture
def pixels(data: Data) -> Any:
    """What a cache of the same photos holds."""
    return np.array(prepare.prepare_dataset(replace(data, cache=True), SIDE).images())


def from_folder(tmp_path: Path) -> Data:
    return Data(source=f"folder:{fake_data.photos(tmp_path / 'photos', {'train': 6, 'test': 3}, LABELS)}")


def from_folder_without_splits(tmp_path: Path) -> Data:
    return Data(source=f"folder:{fake_data.photos(tmp_path / 'photos', {'': 6}, LABELS)}")


def from_csv(tmp_path: Path) -> Data:
    table = fake_data.csv_file(tmp_path / "list.csv", {"train": 6, "test": 3}, LABELS)
    return Data(source=f"csv:{table}", options={"split": "split"})


def from_drawn(tmp_path: Path) -> Data:
    return Data(source="drawn", options={"train": 7, "test": 5, "size": 32, "seed": 3})


@pytest.mark.parametrize("make", [from_folder, from_folder_without_splits, from_csv, from_drawn])
def test_streamed_as_cached(cache_root: Path, tmp_path: Path, make: Callable[[Path], Data]) -> None:
    check_streamed_as_cached(make(tmp_path))


def test_only_index_and_originals_are_written(streamed: Prepared) -> None:
    assert {path.split("/")[0] for path in tree(streamed.folder)} == {"index.json", "originals"}
    assert sum(row.original != "" for row in streamed.rows) == 18


def test_disk_too_small_for_a_cache(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    assert len(prepare.prepare_dataset(data, SIDE).rows) == 18


def test_index_is_used_again(data: Data, streamed: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "preprocess_with_facts", None)
    assert prepare.prepare_dataset(data, SIDE) == streamed


@pytest.mark.parametrize(
    "wanted",
    [
        0,
        -1,
        np.int64(3),
        slice(None),
        slice(2, 11, 3),
        slice(5, 5),
        [],
        np.array([7, 0, 7, -2]),
        np.arange(18) % 5 == 0,
    ],
)
def test_indexed_as_numpy(streamed: Prepared, pixels: Any, wanted: Any) -> None:
    found = streamed.images()
    wanted = np.array(wanted, np.int64) if isinstance(wanted, list) else wanted
    part = found[wanted]
    assert np.array_equal(part, pixels[wanted]) and part.dtype == np.uint8
    assert (found.shape, found.dtype, len(found)) == (pixels.shape, pixels.dtype, len(pixels))


@pytest.mark.parametrize("wanted", [18, -19, np.array([2, 18])])
def test_beyond_the_end_is_an_index_error(streamed: Prepared, wanted: Any) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        streamed.images()[wanted]


def test_changed_photo_is_refused(streamed: Prepared, photos: Path) -> None:
    changed, gone = streamed.rows[4].id, streamed.rows[5].id
    (photos / changed).write_bytes(fake_data.photo(1, 999))
    (photos / gone).unlink()
    found = streamed.images()
    with pytest.raises(DataError, match=rf"{changed}: not the photo that was indexed"):
        found[4]
    with pytest.raises(DataError, match=rf"{gone}: can no longer be read"):
        found[np.arange(5, 8)]
    assert found[6].shape == (SIDE, SIDE, 3)


def test_changed_photo_makes_another_index(data: Data, streamed: Prepared, photos: Path) -> None:
    (photos / streamed.rows[4].id).write_bytes(fake_data.photo(1, 999))
    again = prepare.prepare_dataset(data, SIDE)
    assert again.folder != streamed.folder
    assert np.array_equal(again.images()[4], image.preprocess(photos / again.rows[4].id, (SIDE, SIDE)))


def test_bad_photo_is_found_before_streaming(data: Data, photos: Path) -> None:
    (photos / "train" / "cat" / "bad.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"train/cat/bad\.jpg"):
        prepare.prepare_dataset(data, SIDE)
    made = prepare.prepare_dataset(replace(data, on_bad="skip"), SIDE)
    assert (len(made.rows), len(made.skipped), len(made.images())) == (18, 1, 18)


def test_interrupted_index_goes_on(
    data: Data, photos: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at a certain photo, and not at so many calls: threads take photos in any order."""
    made = prepare.prepare_dataset(data, SIDE)
    whole, count, last = tree(made.folder), len(made.rows), (photos / made.rows[13].id).read_bytes()
    shutil.rmtree(cache_root)
    monkeypatch.setattr(cache_writer, "BLOCK", 4)
    before, seen = image.preprocess_with_facts, []

    def stopped(encoded: bytes, *others: Any) -> object:
        if encoded == last:
            raise KeyboardInterrupt
        return before(encoded, *others)

    def counted(encoded: bytes, *others: Any) -> object:
        seen.append(encoded)
        return before(encoded, *others)

    monkeypatch.setattr(image, "preprocess_with_facts", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_dataset(data, SIDE)
    monkeypatch.setattr(image, "preprocess_with_facts", counted)
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole
    assert len(seen) == count - 12  # three blocks of four were kept


def test_cut_index_is_rebuilt(data: Data, streamed: Prepared) -> None:
    path = streamed.folder / "index.json"
    os.truncate(path, path.stat().st_size // 2)
    assert prepare.prepare_dataset(data, SIDE) == streamed


def test_compressed_records_are_refused(cache_root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tfrec").write_bytes(b"")
    data = Data(source=f"tfrecord:{tmp_path}/a.tfrec", cache=False, options={"compression": "GZIP"})
    with pytest.raises(
        RecipeError, match=r"cache = false: photos in files of compression 'GZIP'.*leave cache out"
    ):
        prepare.prepare_dataset(data, SIDE)


class Counted:
    """A source of photos that counts what is read, in which thread, and can be held up."""

    def __init__(self, folder: Path) -> None:
        self.read_ids: list[str] = []
        self.threads: set[str] = set()
        self._read = folder_source.reader({"path": str(folder)})

    def __call__(self, name: str, offset: int, size: int) -> bytes:
        self.read_ids.append(name)
        self.threads.add(threading.current_thread().name)
        return self._read(name, offset, size)


def test_expected_photos_are_decoded_once(streamed: Prepared, photos: Path, pixels: Any) -> None:
    read = Counted(photos)
    made = StreamedImages(streamed.rows, read, SIDE)
    order = np.random.default_rng(0).permutation(18)
    found = list(in_batches(made, order, 5))
    assert [len(part) for part in found] == [5, 5, 5, 3]
    assert np.array_equal(np.concatenate(found), pixels[order])
    assert sorted(read.read_ids) == sorted(row.id for row in streamed.rows)
    assert all(name.startswith("decode") for name in read.threads)


def test_expected_photos_are_decoded_before_asked(streamed: Prepared, photos: Path) -> None:
    read = Counted(photos)
    made = StreamedImages(streamed.rows, read, SIDE)
    made.decode_ahead(np.array([3, 4]))
    for one in list(made._ahead.values()):
        one.result()
    assert read.read_ids == [streamed.rows[3].id, streamed.rows[4].id] or len(read.read_ids) == 2
    made[np.array([4, 3])]
    assert len(read.read_ids) == 2


def test_false_expectation_is_dropped(streamed: Prepared, photos: Path, pixels: Any) -> None:
    made = StreamedImages(streamed.rows, Counted(photos), SIDE)
    made.decode_ahead(np.arange(6))
    made.decode_ahead(np.arange(6, 8))
    assert len(made._ahead) == 2
    assert np.array_equal(made[:], pixels) and made._ahead == {}


def test_one_hot_as_identity() -> None:
    labels = np.array([2, 0, 1, 2, 2])
    made, rows = OneHot(labels, 4), np.array([4, 1, 0])
    assert made.shape == (5, 4)
    assert np.array_equal(made[rows], np.eye(4, dtype=np.float32)[labels[rows]])
    assert made[rows].dtype == np.float32


class Photos:
    """A split without end: batches as large as asked for, and none that is kept."""

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int) -> None:
        self.shape = (count, 32, 32, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        numbers = np.arange(len(self))[rows]
        return np.full((*numbers.shape, *self.shape[1:]), 7, np.uint8)


def mean(batch: Any) -> Any:
    return batch.mean((1, 2))


def score(count: int) -> None:
    from tledge.training import scoring

    net = SimpleNamespace(predict_on_batch=mean)
    assert scoring.predict(net, Photos(count), np.arange(count)).shape == (count, 3)


def through_the_front(count: int) -> None:
    from tledge.progress import SILENT
    from tledge.training import frozen_features

    out = np.empty((1, count, 3), np.float32).view(Flushed)
    front = SimpleNamespace(predict_on_batch=mean)
    frozen_features._compute(front, [Photos(count)], np.arange(count), out, SILENT)
    assert (out == 7).all()


class Flushed(np.ndarray[Any, Any]):
    def flush(self) -> None: ...


def thumbnails(count: int) -> None:
    box_means(Photos(count), 16)


def weigh(count: int) -> None:
    from tledge.training import batches

    labels = OneHot(np.arange(count) % 500, 500)
    assert batches.Examples(Photos(count), labels, np.arange(count)).class_weights().shape == (500,)


def all_at_once(count: int) -> None:
    mean(Photos(count)[np.arange(count)])


def peak(work: Callable[[int], None], count: int) -> int:
    work(64)
    tracemalloc.start()
    work(count)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize(
    ("work", "most"), [(score, 200), (through_the_front, 200), (thumbnails, 3300), (weigh, 200)]
)
def test_memory_of_a_split_is_flat(work: Callable[[int], None], most: int) -> None:
    """Bytes that each further image adds to the peak; its pixels alone are 3072."""
    assert (peak(work, 20_000) - peak(work, 10_000)) / 10_000 < most


def test_whole_split_in_memory_is_caught() -> None:
    assert (peak(all_at_once, 20_000) - peak(all_at_once, 10_000)) / 10_000 > 3000


def test_near_duplicates_and_sheets_of_streamed(data: Data, streamed: Prepared, tmp_path: Path) -> None:
    from tledge.data import inspection

    cached = prepare.prepare_dataset(replace(data, cache=True), SIDE)
    assert np.array_equal(groups_of(streamed), groups_of(cached))
    rows = splits.split(streamed, data, 0)
    assert inspection.summarize(streamed, rows) == inspection.summarize(cached, rows)
    first, second = (
        inspection.write_contact_sheets(one, rows, tmp_path / str(n), 0)
        for n, one in enumerate((streamed, cached))
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_threads_are_shared() -> None:
    assert streaming._threads() is streaming._threads()
