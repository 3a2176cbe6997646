"""The index of a cache, and how damage to a cache is found and mended."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.photo_folders import photo, tree
from tledge.config import Data
from tledge.data import cache_index, prepare
from tledge.data.cache import Prepared
from tledge.data.cache_index import CacheHeader, Row
from tledge.errors import RunError
from tledge.preprocessing import image
from tledge.progress import Progress, Silent, Task

SIDE = 16
HEAD = CacheHeader(("cat", "dog"), ('odd "rows": [\n.png: damaged',), SIDE, "ab" * 32)


class Watch(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.tasks: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def start(self, what: str, total: int | None = None) -> Task:
        self.tasks.append(what)
        return super().start(what, total)


def some_rows(count: int) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"train/cat/ä {number:06d}.jpg", ("cat", "dog")[number % 2], "train", f"{number:064x}",
            format="JPEG", mode="RGB", width=1000 + number % 3, height=750, bytes=90_000 + number,
        )
        for number in range(count)
    )  # fmt: skip


def written(folder: Path, rows: tuple[Row, ...], head: CacheHeader = HEAD) -> Path:
    cache_index.write(folder / "index.json", head, map(cache_index.row_line, rows))
    return folder / "index.json"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_index_reads_as_written(tmp_path: Path, count: int) -> None:
    head = replace(HEAD, source="folder", options={"path": "photos"})
    rows = (*some_rows(count), Row('] "}\n', "", "test", "", "1.jpg", "a.tfrec", orientation=6, offset=2**40))
    assert cache_index.read(written(tmp_path, rows, head)) == (head, rows)


def test_every_cut_shows(tmp_path: Path) -> None:
    path = written(tmp_path, some_rows(2))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"index\.json.*`tledge data RECIPE`"):
            cache_index.read(path)


def test_every_changed_byte_shows(tmp_path: Path) -> None:
    path = written(tmp_path, some_rows(2))
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(RunError, match=r"index\.json"):
            cache_index.read(path)


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.png", "a/b.jpg", "x.txt", ".jpg", "a\n.png"])
def test_kept_photo_of_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    row = Row("a", "cat", "train", "0" * 64, original=name)
    with pytest.raises(RunError, match=r"index\.json.*is not the name of a kept photo"):
        cache_index.read(written(tmp_path, (row,)))


def test_rows_are_small_and_read_one_by_one(tmp_path: Path) -> None:
    """Bytes a row: 366 kept, 374 at the peak; plain dataclasses parsed at once took 679 and 1255."""
    path = written(tmp_path, some_rows(5000))
    tracemalloc.start()
    _head, rows = cache_index.read(path)
    kept, peak = (size / len(rows) for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert kept < 400 and peak < 450


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "cache"))
    for number in range(8):
        place = tmp_path / "photos" / ("train", "test")[number % 2] / ("cat", "dog")[number // 4]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(photo(number))
    return Data(source=f"folder:{tmp_path / 'photos'}")


@pytest.fixture
def made(data: Data) -> Prepared:
    return prepare.prepare_dataset(data, SIDE)


def flip(path: Path, place: int = -100) -> None:
    """Change one bit in place, as a bad disk does."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    with path.open("r+b") as file:
        file.write(content)


def flip_unseen(path: Path) -> None:
    """Change one bit and put the time of change back."""
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("images.npy", flip, "SHA-256 differs"),
    ("images.npy", flip_unseen, "SHA-256 differs"),
    ("images.npy", cut, "expected 6272"),
    ("images.npy", lengthen, "expected 6272"),
    ("images.npy", Path.unlink, "images.npy is missing"),
    ("index.json", cut, "its end is missing|SHA-256 differs"),
    ("index.json", flip, "SHA-256 differs|damaged"),
    ("index.json", lambda path: os.truncate(path, 0), "incomplete"),
    ("index.json", Path.unlink, "no prepared cache"),
    ("originals/001-0001.png", flip, "originals/001-0001.png was changed"),
    ("originals/001-0001.png", Path.unlink, "originals/001-0001.png is missing"),
]


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGE)
def test_damaged_cache_is_rebuilt(
    data: Data, made: Prepared, name: str, damage: Callable[[Path], None], said: str
) -> None:
    fresh, progress = tree(made.folder), Watch()
    damage(made.folder / name)
    assert tree(made.folder) != fresh
    again = prepare.prepare_dataset(data, SIDE, progress)
    assert tree(made.folder) == fresh and again == made
    assert progress.said[0].startswith(f"{made.folder}: damaged, so the photos are prepared again: ")
    assert any(one in progress.said[0] for one in said.split("|"))


def test_damage_passes_without_the_check(data: Data, made: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check is for: one changed bit is one changed pixel, and nothing else shows it."""
    fresh = np.array(made.images())
    flip(made.folder / "images.npy")
    monkeypatch.setattr(cache_index, "find_damage", lambda *_arguments: "")
    assert not np.array_equal(prepare.prepare_dataset(data, SIDE).images(), fresh)
    monkeypatch.undo()
    monkeypatch.setenv("TLEDGE_CACHE", str(made.folder.parent))
    assert np.array_equal(prepare.prepare_dataset(data, SIDE).images(), fresh)


def test_whole_cache_is_not_rebuilt(data: Data, made: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("decoded again")

    progress = Watch()
    monkeypatch.setattr(image, "preprocess_with_facts", refuse)
    assert prepare.prepare_dataset(data, SIDE, progress) == made
    assert progress.said == progress.tasks == []


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Pixels that are hashed for a check, from now on."""
    seen: list[Path] = []
    before = cache_index._sha256

    def counted(path: Path, progress: Progress) -> str:
        seen.append(path)
        return before(path, progress)

    monkeypatch.setattr(cache_index, "_sha256", counted)
    return seen


def test_small_cache_is_hashed_each_time(data: Data, made: Prepared, hashed: list[Path]) -> None:
    for _ in range(2):
        prepare.prepare_dataset(data, SIDE)
    assert hashed == [made.folder / "images.npy"] * 2


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cache is too large to be hashed each time."""
    monkeypatch.setattr(cache_index, "ALWAYS_HASHED", 0)


@pytest.mark.usefixtures("large")
def test_large_cache_is_hashed_once(data: Data, hashed: list[Path]) -> None:
    made = prepare.prepare_dataset(data, SIDE)
    prepare.prepare_dataset(data, SIDE)
    assert hashed == []
    shutil.copytree(made.folder, made.folder.with_name("copy"))
    shutil.rmtree(made.folder)
    made.folder.with_name("copy").rename(made.folder)
    for _ in range(2):
        assert prepare.prepare_dataset(data, SIDE) == made
    assert len(hashed) == 1


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("damage", [flip, flip_unseen, cut])
def test_damage_to_large_cache_is_found(data: Data, damage: Callable[[Path], None]) -> None:
    made, progress = prepare.prepare_dataset(data, SIDE), Watch()
    fresh = np.array(made.images())
    damage(made.folder / "images.npy")
    assert np.array_equal(prepare.prepare_dataset(data, SIDE, progress).images(), fresh)
    assert "damaged" in progress.said[0]


@pytest.mark.usefixtures("large")
def test_damaged_note_means_a_check(data: Data, hashed: list[Path]) -> None:
    made = prepare.prepare_dataset(data, SIDE)
    (made.folder / "checked.json").write_text("[1,")
    prepare.prepare_dataset(data, SIDE)
    assert len(hashed) == 1


@pytest.mark.usefixtures("large")
def test_read_only_cache_is_used(data: Data, made: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(cache_index.files, "write_json", refuse)
    assert prepare.prepare_dataset(data, SIDE) == made


def test_long_check_is_shown(data: Data, made: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_index, "PATIENCE", -1.0)
    progress = Watch()
    assert prepare.prepare_dataset(data, SIDE, progress) == made
    assert progress.tasks == ["check the cache"]
