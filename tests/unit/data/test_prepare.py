"""Preparing photos: what is in the cache, and what is refused."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import damaged
from tests.helpers.photo_folders import data_of, photo, pixels
from tledge._io import npy
from tledge._io.npy import HEADER
from tledge.config import Data
from tledge.data import cache, cache_writer, prepare
from tledge.data.cache_index import CacheHeader
from tledge.data.sources import folder as folder_source
from tledge.data.sources.base import Record, Scan
from tledge.errors import DataError, MissingError, RecipeError
from tledge.preprocessing import image
from tledge.progress import Silent

pytestmark = pytest.mark.usefixtures("cache_root")

Pixels = NDArray[np.uint8]


def refuse(*_arguments: object) -> None:
    raise AssertionError("decoded again")


def test_every_photo_is_prepared(folder: Path) -> None:
    made = prepare.prepare_dataset(data_of(folder), 16)
    assert made.labels == ("cat", "dog")
    assert [row.id for row in made.rows][:2] == ["test/cat/0.png", "test/cat/1.jpeg"]
    assert made.label_indices.tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1]
    assert made.images().shape == (10, 16, 16, 3)
    for row, found in zip(made.rows, made.images(), strict=True):
        assert np.array_equal(found, image.preprocess(folder / row.id, (16, 16)))


def test_rows_know_their_photo(folder: Path) -> None:
    for row in prepare.prepare_dataset(data_of(folder), 16).rows:
        assert row.sha256 == hashlib.sha256((folder / row.id).read_bytes()).hexdigest()
        assert row.split == row.id.split("/")[0]
        assert row.label == row.id.split("/")[1]


def test_originals_are_kept_unchanged(folder: Path) -> None:
    made = prepare.prepare_dataset(data_of(folder), 16)
    for row in made.rows:
        assert (made.folder / "originals" / row.original).read_bytes() == (folder / row.id).read_bytes()
    assert len({row.original for row in made.rows}) == 10


def test_few_originals_a_class(tmp_path: Path) -> None:
    (tmp_path / "many" / "cat").mkdir(parents=True)
    for index in range(cache.ORIGINALS + 3):
        (tmp_path / "many" / "cat" / f"{index}.png").write_bytes(photo(index))
    made = prepare.prepare_dataset(data_of(tmp_path / "many"), 16)
    assert sum(row.original != "" for row in made.rows) == cache.ORIGINALS


def test_second_call_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare.prepare_dataset(data_of(folder), 16)
    monkeypatch.setattr(image, "preprocess_with_facts", refuse)
    assert prepare.prepare_dataset(data_of(folder), 16) == first


def test_changed_photo_other_cache(folder: Path, cache_root: Path) -> None:
    first = prepare.prepare_dataset(data_of(folder), 16)
    (folder / "train" / "cat" / "0.png").write_bytes(photo(99))
    second = prepare.prepare_dataset(data_of(folder), 16)
    assert second.folder != first.folder
    assert not np.array_equal(second.images(), first.images())
    assert len(list(cache_root.iterdir())) == 2


def test_other_size_other_cache(folder: Path) -> None:
    assert (
        prepare.prepare_dataset(data_of(folder), 16).folder
        != prepare.prepare_dataset(data_of(folder), 24).folder
    )


def test_bad_photo_stops_cleanly(folder: Path, cache_root: Path) -> None:
    (folder / "train" / "dog" / "bad.png").write_bytes(photo(1)[:200])
    with pytest.raises(DataError, match=r'(?s)on_bad = "skip".*train/dog/bad\.png: '):
        prepare.prepare_dataset(data_of(folder), 16)
    assert list(cache_root.iterdir()) == []


def test_bad_photo_is_skipped(folder: Path) -> None:
    (folder / "train" / "dog" / "bad.png").write_bytes(b"no photo")
    made = prepare.prepare_dataset(data_of(folder, on_bad="skip"), 16)
    assert (len(made.rows), len(made.images())) == (10, 10)
    assert len(made.skipped) == 1
    assert made.skipped[0].startswith("train/dog/bad.png: ")


def test_only_bad_photos_fail(tmp_path: Path, cache_root: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "bad.png").write_bytes(b"no photo")
    with pytest.raises(DataError, match="1 of 1 photos cannot be used"):
        prepare.prepare_dataset(data_of(tmp_path / "photos", on_bad="skip"), 16)
    assert list(cache_root.iterdir()) == []


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
@pytest.mark.parametrize("content", [b"no photo", b"", b"\x89PNG cut"])
def test_advice_does_not_leave_nothing(tmp_path: Path, on_bad: str, content: bytes) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"2 of 2 photos cannot be used\. None is left") as caught:
        prepare.prepare_dataset(data_of(tmp_path, on_bad=on_bad), 16)
    assert "on_bad" not in str(caught.value)


def test_label_of_two_lines_leaves_no_cache(folder: Path, cache_root: Path) -> None:
    (folder / "train" / "cat").rename(folder / "train" / "cat\nkitten")
    with pytest.raises(DataError, match="control characters"):
        prepare.prepare_dataset(data_of(folder), 16)
    assert not [path for path in cache_root.iterdir() if path.is_dir()]


def test_missing_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder of photos"):
        prepare.prepare_dataset(data_of(tmp_path / "nowhere"), 16)


def test_folder_without_path_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises((MissingError, RecipeError), match="folder"):
        prepare.prepare_dataset(Data(source="folder"), 16)


def test_mixed_depths_are_refused(folder: Path) -> None:
    (folder / "train" / "stray.png").write_bytes(photo(1))
    with pytest.raises(DataError, match=r"<split>/<label>/photo.*depths \[2, 3\]"):
        prepare.prepare_dataset(data_of(folder), 16)


def test_unknown_option_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"no option 'depth'\. Its options: label_from, path"):
        prepare.prepare_dataset(replace(data_of(folder), options={"depth": 3}), 16)


def test_rows_know_facts(folder: Path) -> None:
    out = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 20), 7).save(out, "JPEG", exif=exif)
    (folder / "train" / "cat" / "0.png").write_bytes(out.getvalue())
    rows = {row.id: row for row in prepare.prepare_dataset(data_of(folder), 16).rows}
    turned, plain = rows["train/cat/0.png"], rows["train/cat/1.jpeg"]
    assert (turned.format, turned.mode, turned.orientation) == ("JPEG", "L", 6)
    assert (turned.width, turned.height, turned.bytes) == (20, 30, len(out.getvalue()))
    assert (plain.format, plain.mode, plain.width, plain.height) == ("JPEG", "RGB", 20, 20)
    assert plain.orientation == 1 and plain.file == ""


def test_rows_know_their_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = folder_source.scan

    def packed(options: dict[str, object]) -> Scan:
        scan = plain(options)
        return replace(
            scan,
            records=lambda: (replace(one, file=f"{one.label}.tfrecord") for one in scan.records()),
        )

    monkeypatch.setattr(folder_source, "scan", packed)
    made = prepare.prepare_dataset(data_of(folder), 16)
    assert {row.file for row in made.rows} == {"cat.tfrecord", "dog.tfrecord"}


def test_other_layout_other_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare.prepare_dataset(data_of(folder), 16)
    monkeypatch.setattr(prepare, "LAYOUT", prepare.LAYOUT + 1)
    assert prepare.prepare_dataset(data_of(folder), 16).folder != first.folder


def test_one_photo_is_enough(tmp_path: Path) -> None:
    (tmp_path / "one" / "cat").mkdir(parents=True)
    (tmp_path / "one" / "cat" / "0.png").write_bytes(photo(1))
    made = prepare.prepare_dataset(data_of(tmp_path / "one"), 20)
    assert np.array_equal(made.images(), pixels(1)[None])


@pytest.mark.parametrize("count", [1, 10, 100_000, 10**9])
@pytest.mark.parametrize("side", [1, 224, 2048])
def test_header_is_numpys_own(count: int, side: int) -> None:
    shape = (count, side, side, 3)
    made = npy.npy_header(shape)
    out = BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, description)
    assert made == out.getvalue() and len(made) == HEADER


def test_every_bad_photo_is_named(folder: Path, cache_root: Path) -> None:
    bad = {"train/cat/a.png": photo(1)[:200], "train/dog/b.jpg": b"<html>", "test/dog/c.gif": b""}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        prepare.prepare_dataset(data_of(folder), 16)
    text = str(caught.value)
    assert text.startswith("3 of 13 photos cannot be used.") and 'on_bad = "skip"' in text
    assert all(f"\n  {name}: " in text for name in bad)
    assert list(cache_root.iterdir()) == []


def test_long_list_of_bad_photos_is_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_writer, "MAX_LISTED", 2)
    for index in range(5):
        (folder / "train" / "dog" / f"bad{index}.png").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"(?s)5 of 15 .*bad0\.png: .*bad1\.png: .*\n  and 3 more$"):
        prepare.prepare_dataset(data_of(folder), 16)


def test_vanished_photo_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = folder_source.scan

    def vanishing(options: dict[str, object]) -> Scan:
        scan = plain(options)

        def records() -> Iterator[Record]:
            for record in scan.records():
                (folder / "train" / "dog" / "1.jpeg").unlink(missing_ok=True)
                yield record

        return replace(scan, records=records)

    monkeypatch.setattr(folder_source, "scan", vanishing)
    with pytest.raises(DataError, match=r"1 of 10 photos[^\n]*\n  train/dog/1\.jpeg: cannot be read"):
        prepare.prepare_dataset(data_of(folder), 16)


def test_heic_without_reader_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones give HEIC: who meets it wants to know which photos and what to install."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (folder / "train" / "dog" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises((DataError, MissingError), match=r"(?s)train/dog/phone\.heic: .*tledge\[heic\]"):
        prepare.prepare_dataset(data_of(folder), 16)


def test_cache_size_is_said(folder: Path) -> None:
    class Watch(Silent):
        said: ClassVar[list[str]] = []

        def say(self, line: str) -> None:
            self.said.append(line)

    prepare.prepare_dataset(data_of(folder), 500, Watch())
    assert Watch.said[0].startswith("10 photos to prepare at 500x500: 8 MB in ")


def test_order_is_kept_whatever_takes_longer() -> None:
    import time

    def read(number: int) -> bytes:
        time.sleep(0.02 * (number % 3 == 0))
        return photo(number)

    records = (Record(str(number), "cat", "train", partial(read, number)) for number in range(9))
    assert [decoded.record.id for decoded in prepare._decoded(records, CacheHeader((), (), 16))] == [
        str(number) for number in range(9)
    ]


def test_label_that_no_bundle_takes_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "cache"))
    for label in ("cat", "dog\x1b[2J"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.jpg").write_bytes(damaged.encoded("JPEG"))
    data = replace(Data(), source=f"folder:{tmp_path / 'photos'}")
    with pytest.raises(DataError, match="control characters") as refused:
        prepare.prepare_dataset(data, 16)
    assert "\x1b" not in str(refused.value)
