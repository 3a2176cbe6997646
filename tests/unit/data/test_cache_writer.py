"""Preparing photos is interrupted, in every way that one can, and goes on to the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.photo_folders import photo, tree
from tledge._io import files, npy
from tledge.config import Data
from tledge.data import cache_writer, prepare
from tledge.data.cache_writer import CacheWriter
from tledge.data.sources import folder as folder_source
from tledge.errors import ResourceError, RunError
from tledge.preprocessing import image

SIDE = 16

BLOCK = 4

PHOTOS = 22
"""Of two labels in two splits; two of them do not decode."""

CHILD = """
import functools, importlib, os, signal, sys
from tledge.data import cache_writer, prepare
from tledge.config import Data

folder, place, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
module, _, names = place.partition(":")
*owners, name = names.split(".")
owner = functools.reduce(getattr, owners, importlib.import_module(module))
before, calls = getattr(owner, name), []

def stop(*arguments, **options):
    calls.append(1)
    if len(calls) == number:
        if len(sys.argv) > 4:
            print("waiting", flush=True)
            sys.stdin.readline()
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments, **options)

setattr(owner, name, stop)
cache_writer.BLOCK, prepare.AHEAD = {block}, 1
prepare.prepare_dataset(Data(source=f"folder:{folder}", on_bad="skip"), {side})
""".replace("{block}", str(BLOCK)).replace("{side}", str(SIDE))


@pytest.fixture
def root(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches lie in this test, written in small blocks."""
    monkeypatch.setattr(cache_writer, "BLOCK", BLOCK)
    monkeypatch.setattr(prepare, "AHEAD", 1)  # so that what was written follows from what was decoded
    return cache_root


@pytest.fixture
def data(root: Path, tmp_path: Path) -> Data:
    for number in range(PHOTOS):
        place = tmp_path / "photos" / ("train" if number % 3 else "test") / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(b"no photo" if number in (4, 13) else photo(number))
    return Data(source=f"folder:{tmp_path / 'photos'}", on_bad="skip")


@pytest.fixture
def whole(data: Data, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The cache as an uninterrupted command makes it, elsewhere."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TLEDGE_CACHE", str(tmp_path / "elsewhere"))
        return tree(prepare.prepare_dataset(data, SIDE).folder)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Photos that this process decodes, from now on."""
    seen: list[bytes] = []
    before = image.preprocess_with_facts

    def counted(encoded: bytes, *others: Any) -> object:
        seen.append(encoded)
        return before(encoded, *others)

    monkeypatch.setattr(image, "preprocess_with_facts", counted)
    return seen


starts_processes = pytest.mark.slow(minutes=0.02)
"""For tests that start a Python of their own, a quarter of a second each."""


def child(data: Data, place: str, number: int, *more: str) -> list[str]:
    return [sys.executable, "-c", CHILD, data.source.partition(":")[2], place, str(number), *more]


def killed(
    data: Data, root: Path, place: str = "tledge.preprocessing.image:preprocess_with_facts", number: int = 14
) -> Path:
    """Kill a command at its `number`th call of `place`; gives the partial folder."""
    done = subprocess.run(child(data, place, number), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not [one for one in root.iterdir() if not one.name.startswith(".")]
    return next(root.glob(".*.partial"))


def lines_of(partial: Path) -> int:
    path = partial / "rows.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@starts_processes
@pytest.mark.parametrize(
    ("place", "number", "least"),
    [
        ("tledge.preprocessing.image:preprocess_with_facts", 1, 0),
        ("tledge.preprocessing.image:preprocess_with_facts", BLOCK + 1, BLOCK),
        ("tledge.preprocessing.image:preprocess_with_facts", 14, 2 * BLOCK),
        ("tledge.data.cache_writer:CacheWriter._keep_original", 11, 2 * BLOCK),
        ("tledge.data.cache_writer:CacheWriter._flush", 3, 2 * BLOCK),
        ("tledge.data.cache_writer:CacheWriter.finish", 1, 5 * BLOCK),
        ("tledge.data.cache_writer:CacheWriter._summary", 1, PHOTOS),
        ("tledge.data.cache_writer:CacheWriter._complete_pixels", 1, PHOTOS),
        ("tledge.data.cache_index:write", 1, PHOTOS),
        ("tledge._io.npy:npy_header", 2, PHOTOS),
        ("os:replace", 1, PHOTOS),
    ],
)
def test_killed_command_goes_on(
    data: Data, root: Path, whole: dict[str, bytes], decoded: list[bytes], place: str, number: int, least: int
) -> None:
    partial = killed(data, root, place, number)
    done = lines_of(partial)
    assert done >= least
    made = prepare.prepare_dataset(data, SIDE)
    assert tree(made.folder) == whole
    assert len(decoded) == PHOTOS - done
    assert not partial.exists()


@starts_processes
def test_killed_at_the_last_moment(
    data: Data, root: Path, whole: dict[str, bytes], decoded: list[bytes]
) -> None:
    """Everything is there but for the folder's name."""
    killed(data, root, "os:replace", 2)
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole
    assert decoded == []


@starts_processes
def test_killed_twice(data: Data, root: Path, whole: dict[str, bytes], decoded: list[bytes]) -> None:
    killed(data, root, number=6)
    partial = killed(data, root, number=7)
    assert lines_of(partial) > BLOCK
    done = lines_of(partial)
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole
    assert len(decoded) == PHOTOS - done


def half_a_line(partial: Path) -> None:
    path = partial / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-9])


def half_an_image(partial: Path) -> None:
    with (partial / "images.npy").open("ab") as pixels:
        pixels.write(bytes([7]) * (SIDE * SIDE * 3 // 2))


def images_without_lines(partial: Path) -> None:
    """Interrupted between the flush of the pixels and that of the lines."""
    path = partial / "rows.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))


def lines_without_images(partial: Path) -> None:
    """Cannot come of a kill, but of a full disk or a power failure."""
    with (partial / "images.npy").open("r+b") as pixels:
        pixels.truncate(npy.HEADER + 5 * SIDE * SIDE * 3 + 11)


def half_a_header(partial: Path) -> None:
    with (partial / "images.npy").open("r+b") as pixels:
        pixels.truncate(17)


def no_pixels(partial: Path) -> None:
    (partial / "images.npy").unlink()


def no_lines(partial: Path) -> None:
    (partial / "rows.jsonl").unlink()


def nothing(partial: Path) -> None:
    shutil.rmtree(partial)
    partial.mkdir()


@starts_processes
@pytest.mark.parametrize(
    "damage",
    [
        half_a_line,
        half_an_image,
        images_without_lines,
        lines_without_images,
        half_a_header,
        no_pixels,
        no_lines,
        nothing,
    ],
)
def test_half_written_end_is_cut_off(
    data: Data, root: Path, whole: dict[str, bytes], decoded: list[bytes], damage: Callable[[Path], None]
) -> None:
    damage(killed(data, root))
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole
    assert len(decoded) <= PHOTOS


@pytest.mark.parametrize(
    ("error", "seen"), [(KeyboardInterrupt, KeyboardInterrupt), (MemoryError, ResourceError)]
)
def test_interrupted_command_goes_on(
    data: Data,
    root: Path,
    whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    seen: type[BaseException],
) -> None:
    before, calls = image.preprocess_with_facts, []

    def interrupted(encoded: bytes, *others: Any) -> object:
        calls.append(encoded)
        if len(calls) == 14:
            raise error
        return before(encoded, *others)

    monkeypatch.setattr(image, "preprocess_with_facts", interrupted)
    with pytest.raises(seen):
        prepare.prepare_dataset(data, SIDE)
    done = lines_of(next(root.glob(".*.partial")))
    assert done >= 2 * BLOCK
    calls.clear()
    calls.extend([b""] * 14)
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole
    assert len(calls) - 14 == PHOTOS - done


@starts_processes
def test_another_size_starts_afresh(data: Data, root: Path) -> None:
    partial = killed(data, root)
    made = prepare.prepare_dataset(data, SIDE + 1)
    assert partial.exists() and made.images().shape[1:3] == (SIDE + 1, SIDE + 1)


@starts_processes
def test_second_command_is_refused(data: Data, root: Path, whole: dict[str, bytes]) -> None:
    command = child(data, "tledge.preprocessing.image:preprocess_with_facts", 9, "wait")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None and first.stdout is not None
        assert first.stdout.readline() == "waiting\n"
        with pytest.raises(RunError, match="another command is preparing these photos"):
            prepare.prepare_dataset(data, SIDE)
        first.communicate("go on\n", timeout=60)
    assert first.returncode == 0
    (made,) = root.iterdir()
    assert tree(made) == whole


def test_cache_made_meanwhile_is_used(
    data: Data, whole: dict[str, bytes], decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command finishes after this one looked for the cache and before it locks."""
    before = prepare.hold_lock

    def slow(folder: Path, *, wait: bool) -> AbstractContextManager[bool]:
        monkeypatch.setattr(prepare, "hold_lock", before)
        prepare.prepare_dataset(data, SIDE)
        return before(folder, wait=wait)

    monkeypatch.setattr(prepare, "hold_lock", slow)
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole
    assert len(decoded) == PHOTOS


def disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(total=free, used=0, free=free))


def test_small_disk_is_refused(data: Data, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, PHOTOS * SIDE * SIDE * 3 - 1)
    with pytest.raises(
        ResourceError, match=r"22 photos at 16x16 take .* free\. Make room, point TLEDGE_CACHE"
    ):
        prepare.prepare_dataset(data, SIDE)
    assert not root.exists() or list(root.iterdir()) == []


@starts_processes
def test_disk_only_for_what_is_missing(data: Data, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the partial cache holds already needs no place a second time."""
    done = lines_of(killed(data, root))
    disk(monkeypatch, (PHOTOS - done) * SIDE * SIDE * 3 + 1000)
    assert len(prepare.prepare_dataset(data, SIDE).rows) == PHOTOS - 2


@starts_processes
def test_small_disk_keeps_what_is_done(data: Data, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = killed(data, root)
    done = lines_of(partial)
    disk(monkeypatch, 100)
    with pytest.raises(ResourceError, match="TLEDGE_CACHE"):
        prepare.prepare_dataset(data, SIDE)
    assert lines_of(partial) == done > 0


def test_full_disk_is_gone_on_from(
    data: Data, root: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up while photos are prepared: what is done stays."""
    with monkeypatch.context() as full:
        calls: list[int] = []

        def refused(*arguments: Any) -> str:
            calls.append(1)
            if len(calls) == 12:
                raise OSError(28, "No space left on device")
            return before(*arguments)

        before = CacheWriter._keep_original
        full.setattr(CacheWriter, "_keep_original", refused)
        with pytest.raises(ResourceError, match=r"cache: the disk is full"):
            prepare.prepare_dataset(data, SIDE)
    assert lines_of(next(root.glob(".*.partial"))) >= 2 * BLOCK
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole


@starts_processes
@pytest.mark.parametrize("count", [0, 3, 1000])
def test_wrong_count_does_no_harm(
    data: Data, root: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    scan = folder_source.scan
    monkeypatch.setattr(folder_source, "scan", lambda options: replace(scan(options), count=lambda: count))
    killed(data, root)
    assert tree(prepare.prepare_dataset(data, SIDE).folder) == whole


@starts_processes
def test_lock_does_not_outlive_its_command(data: Data, root: Path) -> None:
    killed(data, root)
    assert list(root.glob(".*.lock"))
    made = prepare.prepare_dataset(data, SIDE).folder
    assert os.listdir(root) == [made.name]


@starts_processes
def test_cache_loads_as_numpy(data: Data, root: Path) -> None:
    killed(data, root)
    made = prepare.prepare_dataset(data, SIDE)
    loaded = np.load(made.folder / "images.npy", allow_pickle=False)
    assert loaded.shape == (PHOTOS - 2, SIDE, SIDE, 3) and loaded.dtype == np.uint8
    photos = Path(data.source.partition(":")[2])
    for row, found in zip(made.rows, loaded, strict=True):
        assert np.array_equal(found, image.preprocess(photos / row.id, (SIDE, SIDE)))


@starts_processes
@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_pixels_have_the_hash_that_was_noted(data: Data, root: Path, cut: bool, bad: bool) -> None:
    """Hashed while others were decoded, or read again: where photos are left out, or a command went on."""
    unreadable = [one for one in Path(data.source.partition(":")[2]).rglob("*.*") if one.stat().st_size == 8]
    assert len(unreadable) == 2
    for photo_file in unreadable if not bad else ():
        photo_file.unlink()
    if cut:
        killed(data, root)
    made = prepare.prepare_dataset(data, SIDE)
    noted = json.loads((made.folder / "index.json").read_bytes())["pixels"]
    assert noted == files.sha256(made.folder / "images.npy")
    assert len(made.images()) == PHOTOS - 2 and len(made.skipped) == 2 * bad
