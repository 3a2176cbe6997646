"""What the arguments of `tledge predict` name: files, folders, patterns, addresses, standard input."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from tledge.errors import DataError
from tledge.inference import photo_sources, photo_url
from tledge.inference.photo_sources import NamedPhoto, copy_paths, find_photos

JPEG = b"\xff\xd8\xff\xe0 and so on"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    names = (
        "photos/img10.jpg", "photos/img9.JPG", "photos/b/2.png", "photos/a1.jpg", "photos/.hidden.jpg",
        "photos/notes.txt", "photos/__MACOSX/x.jpg", "photos/img9.predicted.jpg", "photos/0001",
        "photos/0002",
    )  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"text" if name.endswith("0002") else JPEG)
    return tmp_path


def found(*arguments: str, stdin: BinaryIO | None = None) -> list[NamedPhoto]:
    return find_photos(arguments, stdin or io.BytesIO(JPEG))


def names(*arguments: str) -> list[str]:
    return [photo.name for photo in found(*arguments)]


IN_ORDER = ["photos/0001", "photos/a1.jpg", "photos/b/2.png", "photos/img9.JPG", "photos/img10.jpg"]


def test_folder_gives_its_photos_in_natural_order(folder: Path) -> None:
    assert names("photos") == names("./photos/") == IN_ORDER
    assert [photo.copy for photo in found("photos")] == ["0001", "a1", "b/2", "img9", "img10"]


def test_links_in_a_circle_end(folder: Path) -> None:
    os.symlink(folder / "photos", folder / "photos" / "b" / "again")
    assert names("photos") == IN_ORDER


def test_pattern_is_expanded_where_no_shell_did(folder: Path) -> None:
    assert names("photos/img*") == ["photos/img9.JPG", "photos/img9.predicted.jpg", "photos/img10.jpg"]
    assert names("photos/**/*.png") == ["photos/b/2.png"]
    (folder / "a[1].jpg").write_bytes(JPEG)
    assert names("a[1].jpg") == ["a[1].jpg"]


@pytest.mark.parametrize(
    ("argument", "words"),
    [("none*.jpg", "no file matches this pattern"), ("empty", "no photo is in this folder")],
)
def test_what_names_no_photo_says_so(folder: Path, argument: str, words: str) -> None:
    (folder / "empty").mkdir()
    (photo,) = found(argument)
    with pytest.raises(DataError, match=words):
        photo.read()


def test_standard_input_is_a_photo(folder: Path) -> None:
    (photo,) = found("-")
    assert (photo.name, photo.read()) == ("-", JPEG)
    with pytest.raises(DataError, match="standard input is empty"):
        photo.read()
    assert names("./-") == ["-"] and found("./-")[0].read() == Path("-")  # a file of that name


def test_standard_input_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_sources, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="too large"):
        found("-", stdin=io.BytesIO(bytes(11)))[0].read()


def test_address_is_read_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(photo_sources, "read_url", lambda address: asked.append(address) or JPEG)
    (photo,) = found("https://host/a/my%20cat.jpg?size=1#top")
    assert not asked and photo.copy == "my_20cat"
    assert photo.read() == JPEG and asked == ["https://host/a/my%20cat.jpg?size=1#top"]
    assert found("http://host/")[0].copy == "host"
    assert not photo_url.is_url("https/photo.jpg") and not photo_url.is_url("file:///etc/passwd")


def test_copies_replace_no_photo_and_no_other_copy(folder: Path) -> None:
    arguments = ("photos/img9.JPG", "photos/img9.predicted.jpg", "photos/b/2.png", "./photos/b/2.png")
    paths = copy_paths(found(*arguments), folder / "photos")
    assert [path.name for path in paths] == [
        "img9-2.predicted.jpg", "img9.predicted.predicted.jpg", "2.predicted.jpg", "2-2.predicted.jpg",
    ]  # fmt: skip
