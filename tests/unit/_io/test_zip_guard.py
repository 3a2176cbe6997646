"""Malicious zips: what is refused before anything of them is read."""

from __future__ import annotations

import os
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from tledge._io import files, zip_guard
from tledge.bundle import reader
from tledge.errors import ArtifactError


def packed(bundle: Path, tmp_path: Path, *more: tuple[str, bytes, int]) -> Path:
    """The bundle as a zip, and more entries of a name, data and Unix mode."""
    path = tmp_path / "b.zip"
    files.canonical_zip(bundle, path)
    with zipfile.ZipFile(path, "a") as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice
        for name, data, mode in more:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, data)
    return path


ENTRIES = {
    "../escaped.txt": "not a safe file name",
    "golden/../../escaped.txt": "not a safe file name",
    "/tmp/escaped.txt": "not a safe file name",
    "C:/escaped.txt": "not a safe file name",
    "..\\escaped.txt": "not a safe file name",
    "golden/./x": "not a safe file name",
    "golden//x": "not a safe file name",
    "golden/a\nb": "not a safe file name",
    "golden/\x1b[2J": "not a safe file name",
    "golden/" + "n" * 300: "not a safe file name",
    "d/" * 50 + "x": "not a safe file name",
    "manifest.json": "is a duplicate entry",
    "MANIFEST.json": "is a duplicate entry",
    "labels.txt/x": "both a file and a folder",
}


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_is_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=ENTRIES[name]) as refused:
        reader.open_bundle(packed(bundle, tmp_path, (name, b"harm", 0)))
    assert "\x1b" not in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_entry_that_is_no_file_is_refused(kind: int, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a link, a device"):
        reader.open_bundle(packed(bundle, tmp_path, ("golden/x", b"/etc/passwd", kind | 0o777)))


def test_plain_entries_are_taken(bundle: Path, tmp_path: Path) -> None:
    """What is refused above is refused for what it is alone."""
    path = packed(bundle, tmp_path, ("golden/ünïcode 花.txt", b"fine", stat.S_IFREG | 0o644))
    assert "golden/ünïcode 花.txt" in reader.open_bundle(path).files.names()


def test_bomb_is_not_unpacked(bundle: Path, tmp_path: Path) -> None:
    path = packed(bundle, tmp_path, ("golden/big.npy", bytes(200 << 20), 0))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ArtifactError, match="too much for its size"):
        reader.open_bundle(path)


def test_encrypted_and_unknown_compression_are_told(bundle: Path, tmp_path: Path) -> None:
    whole = packed(bundle, tmp_path).read_bytes()
    at = whole.rindex(b"manifest.json") - 46
    for place, value, words_ in ((8, 1, "encrypted"), (10, 99, "compress")):
        data = bytearray(whole)
        struct.pack_into("<H", data, at + place, value)
        (tmp_path / "changed.zip").write_bytes(data)
        with pytest.raises(ArtifactError, match=words_):
            reader.open_bundle(tmp_path / "changed.zip")


def test_list_of_entries_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as out:
        for number in range(15_000):
            out.writestr(f"golden/{number:060d}", b"")
    with pytest.raises(ArtifactError, match="list of entries is larger"):
        reader.open_bundle(path)
    assert zip_guard.open_zip(path, 1 << 24).namelist()


def test_checked_zip_is_the_one_that_is_read(tmp_path: Path) -> None:
    """Its name may get another file after the check."""
    path, other = tmp_path / "a.zip", tmp_path / "b.zip"
    for place, text in ((path, "checked"), (other, "exchanged")):
        with zipfile.ZipFile(place, "w") as out:
            out.writestr("name", text)
    with zip_guard.open_zip(path) as opened:
        other.replace(path)
        assert opened.read("name") == b"checked"
    assert opened._owned.closed  # type: ignore[attr-defined]


def test_large_member_is_read_whole(tmp_path: Path) -> None:
    """Only reading the list of entries is limited."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("name", bytes(3 << 20))
    assert len(zip_guard.open_zip(tmp_path / "a.zip").read("name")) == 3 << 20


def test_pipe_is_no_zip(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.zip")
    with pytest.raises(ArtifactError, match=r"b\.zip: is a pipe"):
        reader.open_bundle(tmp_path / "b.zip")


def test_refused_zip_is_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(zipfile.BadZipFile):
        zip_guard.open_zip(tmp_path / "a.zip")
    assert len(os.listdir("/proc/self/fd")) == before
