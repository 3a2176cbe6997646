"""Ten thousand names through the sources: all artifacts have the same labels, or the source refuses one."""

from __future__ import annotations

import csv as csv_text
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.helpers import fake_data
from tests.helpers.many_labels import draw_names, onnx_with, tflite_with
from tests.helpers.sources import options
from tledge import contract
from tledge.config import Model
from tledge.data import labels
from tledge.data.labels import class_list
from tledge.data.sources import csv, folder, tfrecord
from tledge.data.sources.base import Record, require_printable
from tledge.errors import DataError
from tledge.formats import onnx, saved_model, tflite_metadata
from tledge.formats.jobs import ConversionTarget, UncalibratedJob

pytestmark = pytest.mark.slow

COUNT = 10_000
PHOTO = b"a photo"


@pytest.fixture(scope="module")
def names() -> list[str]:
    return draw_names(COUNT)


def in_folders(root: Path, names: list[str]) -> list[Record]:
    """Make a folder for each name, with a photo of that name; names that no folder can have are left out."""
    for name in names:
        try:
            (root / f"{name}").mkdir()
            (root / name / f"{name[:60]}.png").write_bytes(PHOTO)
        except (OSError, ValueError):
            continue
    return list(folder.scan({"path": str(root)}).records())


def is_utf8(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def in_table(root: Path, names: list[str]) -> list[Record]:
    """List a photo for each name that UTF-8 can express in a table; one without a label would be refused."""
    rows = [["path", "label"]]
    for number, name in enumerate(names):
        if name.strip() and is_utf8(name):
            (root / f"{number}.png").write_bytes(PHOTO)
            rows.append([f"{number}.png", json.dumps([name]) if set(name) & set(",;|") else name])
    with (root / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv_text.writer(file).writerows(rows)
    return list(csv.scan(options(csv, path=str(root / "table.csv"))).records())


def in_records(root: Path, names: list[str]) -> list[Record]:
    """Write an example for each name that UTF-8 can express."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(root / "a.tfrec")) as writer:
        for name in names:
            if name and is_utf8(name):
                writer.write(fake_data.example({"image": PHOTO, "class": name}))
    return list(tfrecord.scan(options(tfrecord, pattern=str(root / "*.tfrec"))).records())


def accepted(records: Iterable[Record]) -> list[str]:
    """Return the labels of the records that preparing accepts; of labels that look alike, the first."""
    by_look: dict[str, str] = {}
    for record in records:
        try:
            require_printable(record)
        except DataError:
            continue
        look = labels._seen(labels.normalized(record.label)).lower()
        first = by_look.setdefault(look, record.label)
        if labels.normalized(first) != labels.normalized(record.label):
            with pytest.raises(DataError, match="differ only"):
                class_list([first, record.label])
    return list(by_look.values())


@pytest.mark.parametrize("write", [in_folders, in_table, in_records])
def test_labels_are_equal_in_all_artifacts(
    write: Callable[[Path, list[str]], list[Record]], names: list[str], tmp_path: Path
) -> None:
    photos, made = tmp_path / "photos", tmp_path / "made"  # apart: names are drawn, and one was "labels"
    photos.mkdir()
    made.mkdir()
    records = write(photos, names)
    chosen = class_list(accepted(records)).names
    assert len(chosen) > COUNT // 4
    assert all(label == labels.normalized(label) for label in chosen)
    text = made / "labels.txt"
    text.write_text(contract.labels_text(chosen), encoding="utf-8")
    assert contract.parse_labels(text.read_text(encoding="utf-8")) == chosen
    assert tuple(tflite_metadata.read_metadata(tflite_with(chosen))["labels"]) == chosen
    assert onnx.inspect(onnx_with(chosen, made / "model.onnx")).labels == chosen
    if write is in_records:
        assert saved_labels(chosen, made) == chosen


def saved_labels(chosen: tuple[str, ...], folder: Path) -> tuple[str, ...] | None:
    """Export a small network with these labels as SavedModel; return those that are in it."""
    from tledge.models import classifier

    network = classifier.build(Model("tiny", weights="none", image_size=16), len(chosen))
    classifier.save(network, folder / "model.keras")
    target = ConversionTarget(
        str(folder / "model.keras"), str(folder / "saved"), "fp32", "n", "1", "", chosen
    )
    saved_model.convert(UncalibratedJob(target))
    return saved_model.inspect(folder / "saved").labels
