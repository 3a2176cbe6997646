"""Damaged photos of a data set: skipped or named, never half a cache."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import damaged
from tests.helpers.command_line import Cli
from tledge.data import cache_index, prepare
from tledge.data.cache_index import CacheHeader
from tledge.data.cache_writer import CacheWriter
from tledge.data.sources.base import Record
from tledge.recipe.loader import load

RECIPE = """
[recipe]
name = "mine"
[data]
source = "folder:{folder}"
on_bad = "{on_bad}"
[data.splits]
validation = {{ from = "train", fraction = 0.2 }}
test = {{ from = "train", fraction = 0.2 }}
[model]
backbone = "tiny"
weights = "none"
image_size = 32
[[stage]]
name = "all"
epochs = 1
unfreeze = "all"
batch_norm = "train"
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a recipe over `photos`, where ten good photos of two labels lie."""
    monkeypatch.setenv("TLEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for label in ("cat", "dog"):
        place = tmp_path / "photos" / label
        place.mkdir(parents=True)
        for number in range(5):
            (place / f"{number}.jpg").write_bytes(damaged.encoded("JPEG", 60 + number, 80))

    def write(on_bad: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(RECIPE.format(folder=tmp_path / "photos", on_bad=on_bad))
        return str(path)

    return write


@pytest.fixture
def bad(recipe: Callable[[str], str], tmp_path: Path) -> dict[str, str]:
    """Damaged photos among the good ones, without the link to nothing."""
    found = damaged.build(tmp_path / "photos" / "dog")
    (tmp_path / "photos" / "dog" / damaged.DANGLING).unlink()
    return found


def assert_named(bad: dict[str, str], text: str) -> None:
    """Each damaged file has a line with its reason, and no other file has one."""
    lines = text.splitlines()
    for name, word in bad.items():
        assert any(f"dog/{name}: " in line and word in line for line in lines), (name, word, text)
    for name in (*damaged.FINE, *damaged.IGNORED, "0.jpg"):
        assert f"dog/{name}: " not in text


def test_skip_names_every_photo(recipe: Callable[[str], str], bad: dict[str, str], cli: Cli) -> None:
    done = cli("data", recipe("skip"), "--quiet", "--json")
    assert done.code == 0, done.err
    assert_named(bad, "\n".join(json.loads(done.out)["skipped"]))


def test_skip_is_told_in_words(recipe: Callable[[str], str], tmp_path: Path, cli: Cli) -> None:
    """As many as fit into a page."""
    chosen = ("zero bytes.jpg", "cut at 3 of 4.jpg", "abgeschnitten – ½.png", "bomb.png")
    for name in chosen:
        (tmp_path / "photos" / "dog" / name).write_bytes(damaged.files()[name][1])
    done = cli("data", recipe("skip"), "--quiet")
    assert done.code == 0, done.err
    assert_named({name: damaged.files()[name][0] for name in chosen}, done.out)


def test_skip_keeps_the_rest(recipe: Callable[[str], str], bad: dict[str, str]) -> None:
    made = prepare.prepare_dataset(load(Path(recipe("skip"))).data, 16)
    assert len(made.skipped) == len(bad)
    kept = {row.id for row in made.rows if row.label == "dog"}
    assert kept == {f"dog/{name}" for name in (*damaged.FINE, *(f"{number}.jpg" for number in range(5)))}


def test_stop_names_every_photo(
    recipe: Callable[[str], str], bad: dict[str, str], tmp_path: Path, cli: Cli
) -> None:
    done = cli("data", recipe("stop"), "--quiet")
    assert done.code == 1, done.err
    assert_named(bad, done.err)
    assert 'on_bad = "skip"' in done.err
    assert list(tmp_path.glob("cache/*")) == []


def test_dangling_link_is_named(recipe: Callable[[str], str], tmp_path: Path, cli: Cli) -> None:
    damaged.build(tmp_path / "photos" / "dog")
    done = cli("data", recipe("skip"), "--quiet")
    assert done.code == 1
    assert f"{damaged.DANGLING}: a link" in done.err and "nothing.jpg" in done.err
    assert list(tmp_path.glob("cache/*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="such names are not everywhere")
def test_wild_names_are_told(recipe: Callable[[str], str], tmp_path: Path, cli: Cli) -> None:
    """They would break lists, labels.txt, and the terminal."""
    place, good = tmp_path / "photos", damaged.encoded("JPEG")
    for name in (b"new\nline.jpg", b"caf\xe9.jpg", b"\x1b[31m.jpg"):
        Path(os.fsdecode(os.fsencode(place / "dog") + b"/" + name)).write_bytes(good)
    (place / "a\nlabel").mkdir()
    (place / "a\nlabel" / "0.jpg").write_bytes(good)
    done = cli("data", recipe("skip"), "--quiet", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    named = [r"dog/new\nline.jpg", r"dog/caf\xe9.jpg", r"dog/\x1b[31m.jpg", r"a\nlabel/0.jpg"]
    assert sorted(line.partition(": ")[0] for line in found["skipped"]) == sorted(named)
    assert all(line.isprintable() and "Rename it" in line for line in found["skipped"])
    assert found["labels"] == ["cat", "dog"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_link_to_itself_is_named(recipe: Callable[[str], str], tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "photos" / "dog" / "itself.jpg").symlink_to("itself.jpg")
    done = cli("data", recipe("skip"), "--quiet")
    assert done.code == 1 and "itself.jpg: a link to itself.jpg" in done.err


def test_photo_that_changed_is_no_original(tmp_path: Path) -> None:
    """An original is read again, so that no bytes are held: it must be what was decoded."""
    reads = iter([damaged.encoded("JPEG"), damaged.encoded("PNG")])
    record = Record("dog/1.jpg", "dog", "train", lambda: next(reads))
    (decoded,) = prepare._decoded(iter([record]), CacheHeader((), (), 16))
    with CacheWriter(tmp_path, CacheHeader((), (), 16), 1) as writer:
        assert writer.resume() == 0
        writer.append([decoded])
        writer.finish("stop")
    (row,) = cache_index.read(tmp_path / "index.json")[1]
    assert row.id == "dog/1.jpg" and not row.original and not (tmp_path / "originals").exists()
    assert not any(isinstance(part, bytes) for part in vars(decoded).values())


def test_stop_passes_good_photos(recipe: Callable[[str], str], tmp_path: Path, cli: Cli) -> None:
    done = cli("data", recipe("stop"), "--quiet")
    assert done.code == 0, done.err
    assert len(list(tmp_path.glob("cache/*"))) == 1
