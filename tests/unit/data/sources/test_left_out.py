"""Files that a folder source leaves out: counted by reason, named, and told with the figures."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.photo_folders import data_of, photo
from tests.helpers.sources import options, prepared, read, touch
from tledge.config import SplitPart, Splits
from tledge.data import inspection, prepare, splits
from tledge.data.sources import folder
from tledge.data.sources.left_out import LeftOut, LeftOutCounter, sentences

SPLITS = Splits(validation=SplitPart("train", 0.25), test=SplitPart("train", 0.25))


def left_out(root: Path, **chosen: object) -> dict[str, tuple[int, tuple[str, ...]]]:
    counted = folder.scan(options(folder, path=str(root), **chosen)).left_out()
    return {reason: (group.count, group.examples) for reason, group in counted.items()}


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    touch(
        tmp_path, "a/1.jpg", "a/._1.jpg", ".DS_Store", ".git/config", "a/Thumbs.db", "b/desktop.ini",
        "__MACOSX/a/1.jpg", "a/2.psd", "a/3.xml", "b/notes", "b/1.jpg", "labels.csv", "a/9.tmp",
    )  # fmt: skip
    (tmp_path / "c").mkdir()
    assert left_out(tmp_path) == {
        "unknown ending": (4, ("a/2.psd", "a/3.xml", "a/9.tmp")),
        "hidden": (3, (".DS_Store", ".git/", "a/._1.jpg")),
        "made by the system": (3, ("__MACOSX/", "a/Thumbs.db", "b/desktop.ini")),
        "folder without photos": (1, ("c/",)),
        "not an image": (1, ("b/notes",)),
    }


def test_outermost_folder_without_photos_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "notes/deep/er/x.txt", "train/b/old/y.txt")
    (tmp_path / "train" / "empty").mkdir()
    assert left_out(tmp_path)["folder without photos"] == (3, ("train/b/", "train/empty/", "notes/"))


def test_nothing_is_left_out(tmp_path: Path) -> None:
    assert left_out(touch(tmp_path, "a/1.jpg", "b/1.png")) == {}


@pytest.mark.parametrize("name", ["1", "IMG_2020.01", "photo 7", "猫"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "PPM", "JPEG2000"])
def test_images_without_an_ending_are_read(tmp_path: Path, name: str, kind: str) -> None:
    touch(tmp_path, "a/0.jpg")
    (tmp_path / "a" / name).write_bytes(photo(1, kind))
    found = read(folder, path=str(tmp_path))
    assert {one.id for one in found} == {"a/0.jpg", f"a/{name}"}
    assert left_out(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "data"),
    [("README", b"P6 is a format"), ("LICENSE", b"BM of England"), ("Makefile", b""), ("core.1", bytes(999)),
     ("page", b"<html>"), ("page", b"%PDF-1.7")],
)  # fmt: skip
def test_other_files_without_an_ending_are_counted(tmp_path: Path, name: str, data: bytes) -> None:
    touch(tmp_path, "a/0.jpg")
    (tmp_path / "a" / name).write_bytes(data)
    assert left_out(tmp_path) == {"not an image": (1, (f"a/{name}",))}


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes there")
def test_pipe_without_an_ending_is_not_opened(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.jpg")
    os.mkfifo(tmp_path / "a" / "pipe")
    assert left_out(tmp_path) == {"not an image": (1, ("a/pipe",))}


def test_endings_of_the_newer_formats(tmp_path: Path) -> None:
    for label, (ending, kind) in enumerate(
        {"ppm": "PPM", "PGM": "PPM", "pbm": "PPM", "jp2": "JPEG2000"}.items()
    ):
        (tmp_path / f"{label}").mkdir()
        mode = {"PGM": "L", "pbm": "1"}.get(ending, "RGB")
        Image.new(mode, (32, 32)).save(tmp_path / f"{label}" / f"x.{ending}", kind)
    made = prepared(f"folder:{tmp_path}")
    assert [row.format for row in made.rows] == ["PPM", "PPM", "PPM", "JPEG2000"]


def test_refusal_of_an_empty_set_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"holds no photos.*Left out, unknown ending: 4 \(a/0\.cr2, .*, …\)"):
        read(folder, path=str(touch(tmp_path, *(f"a/{number}.cr2" for number in range(4)))))


def test_figures_tell_it_each_time(tmp_path: Path) -> None:
    """Also where the photos were prepared before, and of photos that cannot be read."""
    for number in range(8):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[number % 2] / f"{number}.png").write_bytes(photo(number))
    touch(tmp_path, "a/x.jpg", "a/y.raw")
    data = replace(data_of(tmp_path, on_bad="skip"), splits=SPLITS)
    for _again in range(2):
        made = prepare.prepare_dataset(data, 16)
        rows = splits.split(made, data, 0)
        told = inspection.as_json(made, rows, inspection.summarize(made, rows))["left_out"]
        assert told["cannot be read"]["count"] == 1
        assert told["unknown ending"] == {"count": 1, "examples": ("a/y.raw",)}


def test_examples_are_three() -> None:
    counter = LeftOutCounter()
    for number in range(5):
        counter.add("hidden", f".{number}")
    counter.add("no label", "x")
    assert counter.by_reason() == {"hidden": LeftOut(5, (".0", ".1", ".2")), "no label": LeftOut(1, ("x",))}
    assert sentences(counter.by_reason()) == [
        "left out, hidden: 5 (.0, .1, .2, …)", "left out, no label: 1 (x)"
    ]  # fmt: skip
