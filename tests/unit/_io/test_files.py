"""Files that are whole or not there, hashes, and zips without a clock."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests.helpers.run_records import fill
from tledge._io import atomic
from tledge._io import files as io_files
from tledge.errors import RunError


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_replacing_makes_folders_above(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / "a" / "b" / "c.txt") as made:
        made.write_text("text")
    assert files_of(tmp_path) == {"a/b/c.txt": b"text"}


def test_replacing_leaves_nothing_on_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic.replacing(tmp_path / "new.txt") as made:
        made.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_replacing_keeps_old_on_failure(tmp_path: Path) -> None:
    fill(tmp_path, {"file": b"old", "folder/x": b"old"})
    for name in ("file", "folder"):
        with pytest.raises(ValueError, match="stop"), atomic.replacing(tmp_path / name):
            raise ValueError("stop")
    assert files_of(tmp_path) == {"file": b"old", "folder/x": b"old"}


def test_replacing_hides_unfinished_work(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic.replacing(path) as made:
        made.write_text("new")
        assert path.read_text() == "old"
    assert files_of(tmp_path) == {"file": b"new"}


def test_replacing_swaps_whole_folders(tmp_path: Path) -> None:
    fill(tmp_path, {"out/gone": b"1", "out/kept": b"1"})
    with atomic.replacing(tmp_path / "out") as made:
        fill(made, {"kept": b"2", "sub/new": b"2"})
    assert files_of(tmp_path) == {"out/kept": b"2", "out/sub/new": b"2"}


def test_replacing_without_result_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.replacing(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_text_is_utf8_with_newlines(tmp_path: Path) -> None:
    io_files.write_text(tmp_path / "a.txt", "é\n手\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n手\n".encode()


def test_sha256_of_a_file(tmp_path: Path) -> None:
    fill(tmp_path, {"empty": b"", "abc": b"abc"})
    assert io_files.sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")
    assert io_files.sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize(
    "files",
    [
        {"x": b"1", "sub/y": b"3"},
        {"z": b"1", "sub/y": b"2"},
        {"x": b"1", "other/y": b"2"},
        {"x": b"1", "sub/y": b"2", "more": b""},
        {"x": b"1"},
        {"x": b"2", "sub/y": b"1"},
    ],
    ids=["byte", "name", "folder", "one-more", "one-less", "swapped"],
)
def test_sha256_of_changed_folder_differs(tmp_path: Path, files: dict[str, bytes]) -> None:
    before = fill(tmp_path / "before", {"x": b"1", "sub/y": b"2"})
    assert io_files.sha256(before) != io_files.sha256(fill(tmp_path / "after", files))


def test_sha256_knows_content_only(tmp_path: Path) -> None:
    first = fill(tmp_path / "first", {"x": b"1", "sub/y": b"2"})
    second = fill(tmp_path / "second", {"sub/y": b"2", "x": b"1"})
    os.utime(second / "x", (0, 0))
    assert io_files.sha256(first) == io_files.sha256(second)


def test_size_counts_all_files(tmp_path: Path) -> None:
    fill(tmp_path, {"x": b"123", "sub/y": b"4567"})
    assert (io_files.size_of(tmp_path), io_files.size_of(tmp_path / "x")) == (7, 3)


def test_zip_forgets_the_clock(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", {"b.txt": b"b", "sub/a.txt": b"a"})
    io_files.canonical_zip(folder, tmp_path / "first.zip")
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (folder / "b.txt").chmod(0o600)
    io_files.canonical_zip(folder, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_zip_holds_all_files(tmp_path: Path) -> None:
    files = {"b.txt": b"b" * 1000, "sub/a.txt": b"", "sub/ü 手.txt": b"a"}
    io_files.canonical_zip(fill(tmp_path / "in", files), tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == files


def test_zip_of_zip_is_same(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", {"a/x": b"1", "a-b/x": b"2", "a.txt": b"3"})
    with zipfile.ZipFile(tmp_path / "loose.zip", "w") as loose:
        for name, data in files_of(folder).items():
            loose.writestr(name, data)
    io_files.canonical_zip(folder, tmp_path / "first.zip")
    io_files.canonical_zip(tmp_path / "loose.zip", tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_zip_rewrites_on_the_way(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", {"a": b"old", "b": b"old"})
    io_files.canonical_zip(folder, tmp_path / "out.zip", lambda name, data: b"new" if name == "a" else data)
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert (packed.read("a"), packed.read("b")) == (b"new", b"old")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "damaged"), (b'{"a": 1', "damaged"), (b"\xff\xfe", "damaged"), (b"[1]", "expected a JSON object")],
)
def test_damaged_json_is_explained(tmp_path: Path, data: bytes, message: str) -> None:
    path = fill(tmp_path, {"x.json": data}) / "x.json"
    with pytest.raises(RunError, match=rf"x\.json: {message}.*Do this\."):
        io_files.read_json(path, "a thing", "Do this.")


def test_missing_json_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a thing: x\.json is missing\. Do this\."):
        io_files.read_json(tmp_path / "x.json", "a thing", "Do this.")


def test_file_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    io_files.write_json(tmp_path / "report.json", {"photo": "r\udcff.jpg"})
    assert io_files.read_json(tmp_path / "report.json", "", "") == {"photo": "r\udcff.jpg"}


def test_copy_has_what_was_there(tmp_path: Path) -> None:
    fill(tmp_path / "run", {"model/variables/data": b"1", "model/saved_model.pb": b"2"})
    (tmp_path / "run" / "model" / "assets").mkdir()
    io_files.copy(tmp_path / "run" / "model", tmp_path / "copy", below=tmp_path / "run")
    copied = sorted(path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*"))
    assert copied == ["assets", "saved_model.pb", "variables", "variables/data"]
    assert io_files.sha256(tmp_path / "copy") == io_files.sha256(tmp_path / "run" / "model")


@pytest.mark.parametrize("place", ["model", "model/x", "model/variables"])
def test_nothing_behind_link_is_hashed_or_copied(place: str, tmp_path: Path) -> None:
    run = fill(tmp_path / "run", {"model/saved_model.pb": b"2"})
    other = fill(tmp_path / "other", {"id_ed25519": b"secret"})
    if (run / place).is_dir():
        (run / place).rename(other / "model")
    (run / place).symlink_to(other)
    with pytest.raises(RunError, match=f"{run / place}: is a symbolic link"):
        io_files.copy(run / "model", tmp_path / "copy", below=run)
    if place != "model":  # a folder that is named may be a link
        for measure in (io_files.sha256, io_files.size_of):
            with pytest.raises(RunError, match="is a symbolic link"):
                measure(run / "model")
        with pytest.raises(RunError, match="is a symbolic link"):
            io_files.canonical_zip(run / "model", tmp_path / "packed.zip")
