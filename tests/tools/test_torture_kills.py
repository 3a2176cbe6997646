"""Check how `torture.cases.kills` judges files: cut short, of every kind, different, or too many."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tledge._io import files
from torture.support import file_checks


def _saved(write: object, *what: object) -> bytes:
    out = io.BytesIO()
    write(out, *what)  # type: ignore[operator]
    return out.getvalue()


def _zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("weights", bytes(range(256)) * 9)
    return out.getvalue()


PICTURE = Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3))
WHOLE = {
    "run.json": b'{"name": "hands"}\n',
    "history.csv": b"epoch,loss\n1,0.5\n",
    "recipe.toml": b'[data]\nsource = "drawn and painted"\nsize = 2',
    "labels.txt": b"paper\nrock and roll\n",
    "report.html": b"<html><body>Report</body></html>\n",
    "front.sha256": b"ab" * 32,
    "golden.npz": _saved(np.savez, np.arange(90)),
    "images.npy": _saved(np.save, np.arange(90)),
    "model.keras": _zipped(),
    "curves.png": _saved(PICTURE.save, "PNG"),
    "photo.jpg": _saved(PICTURE.save, "JPEG"),
    "int8.tflite": b"TFL3" * 30,
}


def models(folder: Path) -> set[str]:
    return {files.sha256(folder / "int8.tflite")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in WHOLE.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_whole_files_are_found_whole(folder: Path) -> None:
    assert file_checks.incomplete_files(folder, models(folder)) == []


@pytest.mark.parametrize("name", WHOLE)
def test_half_a_file_is_named(folder: Path, name: str) -> None:
    known = models(folder)
    (folder / name).write_bytes(WHOLE[name][: len(WHOLE[name]) // 2 + 1])
    (found,) = file_checks.incomplete_files(folder, known)
    assert name in found


def test_unknown_kind_is_named(folder: Path) -> None:
    (folder / "new.xyz").touch()
    (found,) = file_checks.incomplete_files(folder, models(folder))
    assert "new.xyz: nobody has said how to check it" in found


def test_bundle_is_held_to_its_sums(folder: Path) -> None:
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "labels.txt").write_text("a\n")
    assert "stands without SHA256SUMS" in file_checks.incomplete_files(folder, models(folder))[0]
    (bundle / "SHA256SUMS").write_text(f"{files.sha256(bundle / 'labels.txt')}  labels.txt\n")
    assert file_checks.incomplete_files(folder, models(folder)) == []
    (bundle / "labels.txt").write_text("b\n")
    assert "not what its SHA256SUMS names" in file_checks.incomplete_files(folder, models(folder))[0]


def test_temporary_names_are_no_final_ones(folder: Path) -> None:
    (folder / ".model.keras.tledge-x").mkdir()
    (folder / ".model.keras.tledge-x" / "model.keras").write_bytes(b"half")
    assert file_checks.incomplete_files(folder, models(folder)) == []
    assert file_checks.temporary_names(folder) == [".model.keras.tledge-x"]


def test_difference_counts_both_ways() -> None:
    assert file_checks.differing_names({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"}) == [
        "b",
        "c",
        "d",
    ]


def test_later_files_are_found(folder: Path) -> None:
    time.sleep(0.02)
    moment = time.time()
    time.sleep(0.02)
    assert file_checks.changed_since(folder, moment) == []
    (folder / "new.json").write_text("{}")
    assert file_checks.changed_since(folder, moment) == ["new.json"]
