"""The source `tfrecord`: files as TensorFlow writes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import fake_data
from tests.helpers.sources import LABELS, check_prepared, fails, options, prepared, read
from tledge.config import Data
from tledge.data import prepare
from tledge.data.sources import tfrecord
from tledge.data.sources.base import Record
from tledge.errors import DataError

FILES = {"00-4": 4, "01-3": 3}


def records_of(pattern: str, **chosen: object) -> list[Record]:
    return read(tfrecord, pattern=pattern, **chosen)


def write_examples(path: Path, *made: Mapping[str, Any] | bytes) -> str:
    """A TFRecord file of these examples, or of these bytes."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as out:
        for one in made:
            out.write(one if isinstance(one, bytes) else fake_data.example(one))
    return str(path)


def test_tfrecord_reads_in_order(tmp_path: Path) -> None:
    found = records_of(fake_data.tfrecords(tmp_path, FILES, LABELS), labels=list(LABELS))
    made = list(fake_data.examples(FILES, LABELS))
    assert [one.id for one in found] == [f"{one.split}.tfrec/{one.number:06d}" for one in made]
    assert [one.file for one in found] == ["00-4.tfrec"] * 4 + ["01-3.tfrec"] * 3
    assert [one.label for one in found] == [one.label for one in made]
    assert [one.read() for one in found] == [one.photo for one in made]
    assert {one.split for one in found} == {"train"}


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
def test_tfrecord_is_decompressed(tmp_path: Path, compression: str) -> None:
    pattern = fake_data.tfrecords(tmp_path, FILES, LABELS, compression=compression)
    found = records_of(pattern, compression=compression)
    assert [one.read() for one in found] == [one.photo for one in fake_data.examples(FILES, LABELS)]
    assert "compression = ''" in fails(tfrecord, pattern=pattern)


def test_tfrecord_is_prepared(tmp_path: Path) -> None:
    pattern = fake_data.tfrecords(tmp_path, FILES, LABELS, image="photo", label="kind", named=True)
    expected = {
        f"{one.split}.tfrec/{one.number:06d}": (one.label, "train", one.photo)
        for one in fake_data.examples(FILES, LABELS)
    }
    check_prepared(prepared(f"tfrecord:{pattern}", image="photo", label="kind"), expected)


def test_tfrecord_same_names_in_folders(tmp_path: Path) -> None:
    for part in ("one", "two/deep"):
        fake_data.tfrecords(tmp_path / part, {"a": 2}, LABELS)
    found = records_of(f"{tmp_path}/**/*.tfrec")
    assert [one.file for one in found] == ["one/a.tfrec"] * 2 + ["two/deep/a.tfrec"] * 2


def test_tfrecord_single_file_with_brackets(tmp_path: Path) -> None:
    fake_data.tfrecords(tmp_path / "set [1]", {"a": 2}, LABELS)
    assert [one.file for one in records_of(f"{tmp_path}/set [1]/a.tfrec")] == ["a.tfrec"] * 2


def test_tfrecord_numbers_sort_as_text(tmp_path: Path) -> None:
    labels = [str(index) for index in range(12)]
    found = records_of(fake_data.tfrecords(tmp_path, {"a": 10, "b": 12}, labels))
    assert [one.label for one in found[:10]] == [f"{index:02d}" for index in range(10)]
    assert sorted({one.label for one in found}, key=int) == sorted({one.label for one in found})


@pytest.mark.parametrize("named", [False, True])
def test_tfrecord_labels_keep_their_order(tmp_path: Path, named: bool) -> None:
    names = ["rock", "paper", "scissors", "lizard"]
    pattern = fake_data.tfrecords(tmp_path, {"a": 3}, names[:3], named=named)
    made = prepare.prepare_dataset(Data(source=f"tfrecord:{pattern}", labels=tuple(names)), 16)
    assert (list(made.labels), made.label_indices.tolist()) == (names, [0, 1, 2])


def test_tfrecord_spellings_are_one_label(tmp_path: Path) -> None:
    rose = [unicodedata.normalize(form, "rosé") for form in ("NFC", "NFD")]
    examples = [{"image": fake_data.photo(n), "class": name} for n, name in enumerate([*rose, "iris"])]
    write_examples(tmp_path / "a.tfrec", *examples)
    made = prepare.prepare_dataset(Data(source=f"tfrecord:{tmp_path}/*.tfrec"), 16)
    assert made.labels == ("iris", rose[0]) and len(made.merged) == 1


def test_tfrecord_survey_forgets_changed_files(tmp_path: Path) -> None:
    pattern = fake_data.tfrecords(tmp_path, {"a": 3}, LABELS)
    assert [one.label for one in records_of(pattern)] == ["0", "1", "2"]
    write_examples(tmp_path / "a.tfrec", {"image": b"x", "class": 11}, {"image": b"y", "class": 2})
    assert [one.label for one in records_of(pattern)] == ["11", "02"]


@pytest.mark.parametrize("index", [3, -1])
def test_tfrecord_index_out_of_range(tmp_path: Path, index: int) -> None:
    good, bad = ({"image": b"x", "class": label} for label in (2, index))
    pattern = write_examples(tmp_path / "a.tfrec", good, bad)
    message = fails(tfrecord, pattern=pattern, labels=list(LABELS))
    assert f"a.tfrec, record 1: label {index}, expected an index from 0 to 2" in message
    assert "Set labels to the names of all indices" in message


def test_tfrecord_negative_index_without_names(tmp_path: Path) -> None:
    pattern = write_examples(tmp_path / "a.tfrec", {"image": b"x", "class": -1})
    assert "record 0: label -1, expected an index from 0" in fails(tfrecord, pattern=pattern)


def test_tfrecord_unlisted_name(tmp_path: Path) -> None:
    pattern = write_examples(tmp_path / "a.tfrec", {"image": b"x", "class": "dog"})
    assert [one.label for one in records_of(pattern, labels=["dog"])] == ["dog"]
    assert "record 0: label 'dog' is not in [data] labels" in fails(
        tfrecord, pattern=pattern, labels=list(LABELS)
    )


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"image": b"x", "id": "7"}, "has no feature 'class'; it has id, image. Name the right one"),
        ({"photo": b"x", "class": 1}, "has no feature 'image'; it has class, photo."),
        ({}, "has no feature 'class'; it has none."),
        ({"image": b"x", "class": [1, 2]}, "feature 'class' has 2 values of int64_list, expected one"),
        ({"image": b"x", "class": []}, "feature 'class' has 0 values of int64_list, expected one"),
        ({"image": b"x", "class": 1.0}, "feature 'class' has 1 values of float_list, expected one"),
        ({"image": 5, "class": 1}, "feature 'image' has 1 values of int64_list, expected one of bytes_list"),
        ({"image": b"x", "class": ""}, "the label is empty"),
        ({"image": b"x", "class": b"\xff"}, "expected UTF-8 text"),
        (b"\xff\xff\xff no example", "expected a tf.train.Example"),
    ],
    ids=["label", "image", "none", "many", "few", "float", "pixels", "empty", "latin", "junk"],
)
def test_tfrecord_bad_example(tmp_path: Path, made: Mapping[str, Any] | bytes, message: str) -> None:
    pattern = write_examples(tmp_path / "a.tfrec", {"image": b"x", "class": 1}, made)
    found = fails(tfrecord, pattern=pattern)
    assert f"{tmp_path}/a.tfrec, record 1: " in found and message in found


def broken(data: bytes, how: str) -> bytes:
    middle = len(data) // 2
    return {
        "cut": data[:middle],
        "last byte": data[:-1],
        "next header": data + data[:7],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "text": b"not a TFRecord file at all",
        "empty": b"",
    }[how]


@pytest.mark.parametrize("how", ["cut", "last byte", "next header", "flipped", "text", "empty"])
def test_tfrecord_damaged_file(tmp_path: Path, how: str) -> None:
    pattern = fake_data.tfrecords(tmp_path, FILES, LABELS)
    assert len(records_of(pattern)) == 7
    bad = tmp_path / "01-3.tfrec"
    bad.write_bytes(broken(bad.read_bytes(), how))
    assert f"{bad}: truncated, damaged or not a TFRecord file" in fails(
        tfrecord, pattern=pattern, labels=list(LABELS)
    )
    with pytest.raises(DataError, match="truncated"):
        tfrecord.scan(options(tfrecord, pattern=pattern)).count()
