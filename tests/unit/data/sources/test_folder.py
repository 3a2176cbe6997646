"""The source `folder`: which files are photos, what their place says, and where links lead."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers import fake_data
from tests.helpers.sources import LABELS, check_prepared, fails, prepared, read, touch
from tledge.data.sources import folder
from tledge.errors import DataError


def ids(root: Path) -> list[str]:
    return [one.id for one in read(folder, path=str(root))]


def test_folder_by_split_and_label(tmp_path: Path) -> None:
    fake_data.photos(tmp_path, {"train": 4, "test": 2}, LABELS[:2])
    found = read(folder, path=str(tmp_path))
    assert [one.id for one in found] == sorted(one.id for one in found)
    assert Counter((one.split, one.label) for one in found) == {
        ("train", "ant"): 2, ("train", "bee"): 2, ("test", "ant"): 1, ("test", "bee"): 1,
    }  # fmt: skip


def test_folder_by_label(tmp_path: Path) -> None:
    fake_data.photos(tmp_path, {"": 4}, LABELS[:2])
    assert {(one.split, one.label) for one in read(folder, path=str(tmp_path))} == {
        ("train", "ant"),
        ("train", "bee"),
    }


def test_folder_suffixes(tmp_path: Path) -> None:
    names = [f"a/{number:02d}{suffix}" for number, suffix in enumerate(sorted(folder.SUFFIXES))]
    assert {".heic", ".heif", ".avif", ".jfif", ".jpe"} <= folder.SUFFIXES
    touch(tmp_path, *names, "a/UPPER.JPG", "a/notes.txt", "a/jpg", "labels.csv")
    assert ids(tmp_path) == [*names, "a/UPPER.JPG"]


def test_folder_skips_clutter(tmp_path: Path) -> None:
    touch(
        tmp_path, "a/1.jpg", "a/._1.jpg", "a/.hidden.png", ".ipynb_checkpoints/1.jpg", "a/.git/x/y/1.jpg",
        "__MACOSX/a/._1.jpg", "__MACOSX/a/1.jpg", "a/@eaDir/1.jpg/SYNOPHOTO_THUMB.jpg",
    )  # fmt: skip
    assert ids(tmp_path) == ["a/1.jpg"]


def test_folder_below_hidden_root(tmp_path: Path) -> None:
    assert ids(touch(tmp_path / ".cache" / "__MACOSX", "a/1.jpg")) == ["a/1.jpg"]


def test_folder_any_name(tmp_path: Path) -> None:
    names = ["Großer Hund/mein Bild (1).jpg", "cafe\u0301/é è.jpg", "猫/写真 😺.jpg", "a b/ c .jpg"]
    touch(tmp_path, *names)
    found = read(folder, path=str(tmp_path))
    assert {one.id for one in found} == set(names)
    assert {one.label for one in found} == {name.split("/")[0] for name in names}
    assert all(one.read() == one.id.encode() for one in found)


def test_folder_any_name_is_prepared(tmp_path: Path) -> None:
    labels = ("Großer Hund", "猫 😺")
    fake_data.photos(tmp_path, {"erster Teil": 4}, labels)
    expected = {
        f"{one.split}/{one.label}/{one.number:04d}.jpg": (one.label, one.split, one.photo)
        for one in fake_data.examples({"erster Teil": 4}, labels)
    }
    check_prepared(prepared(f"folder:{tmp_path}"), expected)


def test_folder_follows_links(tmp_path: Path) -> None:
    store = touch(tmp_path / "store", "x.jpg", "bees/1.jpg", "bees/2.jpg")
    root = touch(tmp_path / "root", "ant/1.jpg")
    (root / "ant" / "2.jpg").symlink_to(store / "x.jpg")
    (root / "bee").symlink_to(store / "bees")
    found = read(folder, path=str(root))
    assert [one.id for one in found] == ["ant/1.jpg", "ant/2.jpg", "bee/1.jpg", "bee/2.jpg"]
    assert found[1].read() == b"x.jpg"


def test_folder_survives_looping_links(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert ids(tmp_path) == ["a/1.jpg", "b/2.jpg"]


def test_folder_names_broken_link(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "2.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match=r"a/2\.jpg: a link to .*gone\.jpg, which does not exist"):
        folder.scan({"path": str(tmp_path)}).fingerprint()


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    touch(tmp_path, "a/1.jpg")
    monkeypatch.setattr(os, "scandir", refuse)
    assert f"{tmp_path}: cannot be listed (Permission denied)" in fails(folder, path=str(tmp_path))


def test_folder_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg")
    listed: list[Path] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scan(path))  # type: ignore[func-returns-value]
    found = folder.scan({"path": str(tmp_path)})
    assert found.fingerprint() and found.count() == len(list(found.records())) == 3
    assert sorted(map(Path, listed)) == [tmp_path, tmp_path / "a", tmp_path / "b"]


def test_folder_shows_mixed_depths(tmp_path: Path) -> None:
    touch(tmp_path, "stray.jpg", "train/cat/1.jpg", "train/cat/2.jpg", "train/lost.jpg")
    message = fails(folder, path=str(tmp_path))
    assert "4 photos at depths [1, 2, 3]" in message
    assert "(depth 1: stray.jpg; depth 2: train/lost.jpg; depth 3: train/cat/1.jpg)" in message


@pytest.mark.parametrize(
    "folders", [("train", "test1"), ("Training", "valid"), ("train",), ("test_set", "TRAIN")]
)
def test_folders_of_splits_are_no_labels(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root = touch(tmp_path, *(f"{place}/{number}.jpg" for place in folders for number in range(3)))
    message = fails(folder, path=str(root))
    assert "split folders without label folders" in message and 'label_from = "name:{label}_*"' in message
    assert {one.label for one in read(folder, path=str(root), label_from="path:{label}/*")} == set(folders)


def test_a_label_may_be_named_like_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "bus/1.jpg")
    assert {one.label for one in read(folder, path=str(tmp_path))} == {"train", "bus"}


@pytest.mark.parametrize("name", ["1.jpg", "a/b/c/1.jpg"])
def test_folder_of_wrong_depth(tmp_path: Path, name: str) -> None:
    assert f"depth {name.count('/') + 1}: {name}" in fails(folder, path=str(touch(tmp_path, name)))


def test_folder_without_photos(tmp_path: Path) -> None:
    touch(tmp_path, "a/readme.txt", ".a/1.jpg")
    message = fails(folder, path=str(tmp_path))
    assert "holds no photos" in message and ".heic" in message
