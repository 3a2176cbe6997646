"""The prepared cache as a zip: packed, unpacked without the photos, and refused where it is another."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.command_line import Cli
from tests.helpers.fake_data import photo
from tledge.config import Data
from tledge.data import cache_archive, prepare
from tledge.data.cache import Prepared
from tledge.errors import DataError, RecipeError, ResourceError, RunError, TledgeError

DATA = Data(source="folder:photos")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine that has the photos: the working folder, with a cache root of its own."""
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "here"))
    for split, count in (("train", 3), ("test", 2)):
        for index, label in enumerate(("cat", "dog")):
            folder = tmp_path / "home" / "photos" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.jpg").write_bytes(photo(index, (count, number)))
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def made() -> Prepared:
    return prepare.prepare_dataset(DATA, 16)


@pytest.fixture
def packed(made: Prepared, tmp_path: Path) -> Path:
    path = tmp_path / "travels" / "cache.zip"
    cache_archive.pack(made, DATA, 16, path)
    (made.folder / "features").mkdir()
    return path


@pytest.fixture
def away(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine: neither photos nor caches; gives its cache root."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "there"))
    return tmp_path / "there"


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write the zip anew, each member changed or left out."""
    with zipfile.ZipFile(path) as old:
        members = {name: change(name, old.read(name)) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            if data is not None:
                new.writestr(name, data)


def with_note(path: Path, **parts: Any) -> None:
    def change(name: str, data: bytes) -> bytes:
        return (
            json.dumps({**json.loads(data), **parts}).encode() if name == cache_archive.HEADER_NAME else data
        )

    rewritten(path, change)


def test_note_says_what_is_packed(made: Prepared, packed: Path) -> None:
    with zipfile.ZipFile(packed) as found:
        note = json.loads(found.read("cache.json"))
        assert {entry.compress_type for entry in found.infolist()} == {zipfile.ZIP_STORED}
        hashes = {
            name: hashlib.sha256(found.read(name)).hexdigest()
            for name in found.namelist()
            if name != "cache.json"
        }
    assert note["key"] == made.folder.name and note["format"] == 1
    assert (note["source"], note["options"]) == ("folder", {"path": "photos"})
    assert (note["image_size"], note["on_bad"]) == (16, "stop")
    assert {name: hash_ for name, (hash_, _size) in note["members"].items()} == hashes
    assert len([name for name in hashes if name.startswith("originals/")]) == 10


def test_same_cache_same_bytes(made: Prepared, packed: Path, tmp_path: Path) -> None:
    cache_archive.pack(made, DATA, 16, tmp_path / "again.zip")  # with a folder of features beside by now
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_unpacked_without_photos(made: Prepared, packed: Path, away: Path) -> None:
    found = cache_archive.unpack(packed, DATA, 16)
    assert found.folder == away / made.folder.name
    assert (found.labels, found.rows) == (made.labels, made.rows)
    assert np.array_equal(found.images(), made.images())
    for row in found.rows:
        original = (found.folder / "originals" / row.original).read_bytes()
        assert hashlib.sha256(original).hexdigest() == row.sha256
    assert sorted(path.name for path in away.iterdir()) == [made.folder.name]


def test_unzipped_folder_serves_too(made: Prepared, packed: Path, away: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as found:
        found.extractall(tmp_path / "unzipped")
    assert cache_archive.unpack(tmp_path / "unzipped", DATA, 16).folder == away / made.folder.name


def test_second_unpacking_finds_it(packed: Path, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache_archive.unpack(packed, DATA, 16)
    monkeypatch.setattr(cache_archive, "_fill", lambda *_all: pytest.fail("unpacked again"))
    assert cache_archive.unpack(packed, DATA, 16) == first


@pytest.mark.parametrize(
    ("data", "size", "named"),
    [
        (Data(source="folder:others"), 16, ["[data] path", "'others'", "'photos'"]),
        (Data(source="csv:photos"), 16, ["[data] source", "'csv'", "'folder'", "[data] delimiter"]),
        (DATA, 32, ["[model] image_size", "32", "16"]),
        (replace(DATA, on_bad="skip"), 16, ["[data] on_bad", "'skip'", "'stop'"]),
    ],
)
def test_other_recipe_is_refused(data: Data, size: int, named: list[str], packed: Path, away: Path) -> None:
    with pytest.raises(RecipeError, match="not the cache of this recipe") as error:
        cache_archive.unpack(packed, data, size)
    assert all(word in str(error.value) for word in named)
    assert not away.exists()


def test_splits_are_no_matter(packed: Path, away: Path) -> None:
    """What is made of the photos later may differ."""
    assert cache_archive.unpack(packed, replace(DATA, group="near-duplicates"), 16).labels == ("cat", "dog")


@pytest.mark.parametrize("name", ["preparation", "layout"])
def test_cache_of_other_version_is_refused(name: str, packed: Path, away: Path) -> None:
    with_note(packed, **{name: 99})
    with pytest.raises(RecipeError, match=f"{name}.*99"):
        cache_archive.unpack(packed, DATA, 16)


@pytest.mark.parametrize("member", ["images.npy", "index.json", "originals/001-0001.jpg"])
@pytest.mark.parametrize("seal", [True, False])
def test_changed_byte_names_member(member: str, seal: bool, packed: Path, away: Path) -> None:
    """With the zip's own checksum wrong, and with it made right again."""
    if seal:
        rewritten(packed, lambda name, data: data[:-1] + b"?" if name == member else data)
    else:
        with zipfile.ZipFile(packed) as found:
            inside = found.read(member)
        damaged = bytearray(packed.read_bytes())
        damaged[damaged.find(inside) + len(inside) // 2] ^= 1
        packed.write_bytes(damaged)
    with pytest.raises(DataError, match=f"{member} is damaged"):
        cache_archive.unpack(packed, DATA, 16)
    assert list(away.iterdir()) == []


def test_longer_member_is_refused(packed: Path, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is written than was announced, and paid for in free space."""
    monkeypatch.setattr(cache_archive, "BLOCK", 64)
    rewritten(packed, lambda name, data: data + bytes(10_000) if name == "images.npy" else data)
    with pytest.raises(DataError, match=r"images\.npy is damaged"):
        cache_archive.unpack(packed, DATA, 16)


@pytest.mark.parametrize("member", ["images.npy", "originals/001-0001.jpg", "cache.json"])
def test_missing_member_is_named(member: str, packed: Path, away: Path) -> None:
    rewritten(packed, lambda name, data: None if name == member else data)
    with pytest.raises(DataError, match=member):
        cache_archive.unpack(packed, DATA, 16)


def test_cut_zip_is_refused(packed: Path, away: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"cache\.zip: not a complete zip file, perhaps cut short"):
        cache_archive.unpack(packed, DATA, 16)


@pytest.mark.parametrize("name", ["../evil.npy", "/tmp/evil", "originals/../../evil.jpg", "other.txt"])
@pytest.mark.parametrize("listed", [True, False])
def test_strange_names_are_refused(name: str, listed: bool, packed: Path, away: Path) -> None:
    if listed:
        with zipfile.ZipFile(packed) as found:
            members = json.loads(found.read("cache.json"))["members"]
        with_note(packed, members={**members, name: ["0" * 64, 4]})
    else:
        with zipfile.ZipFile(packed, "a") as found:
            found.writestr(name, b"evil")
    with pytest.raises(DataError, match=r"cache\.json is damaged|is not (part of a cache|a safe file name)"):
        cache_archive.unpack(packed, DATA, 16)
    assert not list(away.parent.rglob("evil*"))


def test_key_is_no_path(packed: Path, away: Path) -> None:
    with_note(packed, key="../../outside")
    with pytest.raises(DataError, match=r"cache\.json is damaged"):
        cache_archive.unpack(packed, DATA, 16)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"format": 1}', b"\xff"])
def test_damaged_note_is_refused(text: bytes, packed: Path, away: Path) -> None:
    rewritten(packed, lambda name, data: text if name == "cache.json" else data)
    with pytest.raises(DataError, match=r"cache\.json"):
        cache_archive.unpack(packed, DATA, 16)


def test_later_format_is_refused(packed: Path, away: Path) -> None:
    with_note(packed, format=2)
    with pytest.raises(DataError, match="format 2, this version of tledge reads 1"):
        cache_archive.unpack(packed, DATA, 16)


@pytest.mark.parametrize(("name", "kind"), [("none.zip", RecipeError), ("text.zip", DataError)])
def test_no_zip_is_refused(name: str, kind: type[TledgeError], away: Path, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(kind, match=name):
        cache_archive.unpack(tmp_path / name, DATA, 16)


def test_full_disk_is_said_first(packed: Path, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ResourceError, match=r"take 0\.0 MiB more, 0\.0 MiB free"):
        cache_archive.unpack(packed, DATA, 16)
    assert list(away.iterdir()) == []


RECIPE = """
[data]
source = "folder:photos"
[data.splits]
validation = { from = "train", fraction = 0.4 }
[model]
backbone = "tiny"
weights = "none"
image_size = 32
"""


def test_data_command_packs(cli: Cli, home: Path) -> None:
    (home / "pets.toml").write_text(RECIPE + "[[stage]]\n")
    done = cli("data", "pets.toml", "--pack", "cache.zip", "--quiet")
    assert done.code == 0, done.err
    assert "packed into cache.zip" in done.out
    assert cache_archive.unpack(Path("cache.zip"), DATA, 32).labels == ("cat", "dog")


def test_out_of_data_is_no_zip(cli: Cli, home: Path) -> None:
    (home / "pets.toml").write_text(RECIPE + "[[stage]]\n")
    done = cli("data", "pets.toml", "--out", "cache.zip")
    assert done.code == 2 and "--pack cache.zip" in done.err
    assert not (home / "cache.zip").exists()


def test_pack_onto_folder_is_refused(made: Prepared, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--pack takes the name of a file"):
        cache_archive.pack(made, DATA, 16, tmp_path)
