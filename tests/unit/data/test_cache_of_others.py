"""Prepared photos on a machine with other accounts: whose count, and who may read them."""

from __future__ import annotations

import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.photo_folders import data_of
from tests.helpers.strangers import give_away
from tledge.data import cache, cache_archive, cache_index, prepare
from tledge.errors import ResourceError
from tledge.progress import Silent


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def exchange_labels(made: cache.Prepared) -> None:
    """Write an index that fits its pixels, with the labels of cats and dogs exchanged."""
    header, rows = cache_index.read(made.folder / "index.json")
    other = {"cat": "dog", "dog": "cat"}
    lines = [cache_index.row_line(replace(row, label=other[row.label])) for row in rows]
    cache_index.write(made.folder / "index.json", header, lines)


def test_poisoned_cache_of_another_account_is_made_again(
    folder: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare.prepare_dataset(data_of(folder), 16)
    exchange_labels(first)
    assert cache.open_cache(first.folder).label_indices.tolist() != first.label_indices.tolist()
    with monkeypatch.context() as others:
        give_away(others, first.folder)
        others.setattr(prepare, "_undamaged", _until_removed(prepare._undamaged, others))
        heard = Heard()
        again = prepare.prepare_dataset(data_of(folder), 16, heard)
    assert again.label_indices.tolist() == first.label_indices.tolist()
    assert [line for line in heard.lines if "belongs to" in line and "prepared again" in line]


def _until_removed(look: object, others: pytest.MonkeyPatch) -> object:
    """Look at a cache; once it is removed, what is made in its place is one's own."""

    def wrapped(folder: Path, progress: object) -> object:
        if not folder.is_dir():
            others.undo()
        return look(folder, progress)  # type: ignore[operator]

    return wrapped


def test_half_made_cache_of_another_account_is_not_continued(
    folder: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare.prepare_dataset(data_of(folder), 16)
    exchange_labels(made)
    partial = made.folder.with_name(f".{made.folder.name}.partial")
    made.folder.rename(partial)
    partial.chmod(0o777)
    heard = Heard()
    again = prepare.prepare_dataset(data_of(folder), 16, heard)
    assert again.label_indices.tolist() == made.label_indices.tolist()
    assert [line for line in heard.lines if "may be changed" in line and "not completed" in line]


@pytest.mark.parametrize("place", ["", "index.json", "images.npy", "originals"])
def test_cache_that_others_may_change_is_made_again(folder: Path, cache_root: Path, place: str) -> None:
    first = prepare.prepare_dataset(data_of(folder), 16)
    exchange_labels(first)
    first.folder.chmod(0o755)
    (first.folder / place).chmod(0o777)
    heard = Heard()
    again = prepare.prepare_dataset(data_of(folder), 16, heard)
    assert again.label_indices.tolist() == first.label_indices.tolist()
    assert "may be changed by other accounts" in heard.lines[0]
    assert len(list(cache_root.iterdir())) == 1


def test_folder_that_nobody_else_enters_is_private_whatever_is_in_it(folder: Path, cache_root: Path) -> None:
    """Features and groups are added later, under the umask of the account."""
    first = prepare.prepare_dataset(data_of(folder), 16)
    (first.folder / "features").mkdir()
    (first.folder / "features").chmod(0o777)
    heard = Heard()
    assert prepare.prepare_dataset(data_of(folder), 16, heard) == first
    assert (first.folder / "features").is_dir() and not heard.lines


def test_link_in_a_cache_is_not_followed(folder: Path, cache_root: Path) -> None:
    first = prepare.prepare_dataset(data_of(folder), 16)
    (first.folder / "images.npy").rename(cache_root / "images.npy")
    (first.folder / "images.npy").symlink_to(cache_root / "images.npy")
    assert not prepare.prepare_dataset(data_of(folder), 16).folder.joinpath("images.npy").is_symlink()


def test_cache_is_refused_where_all_may_write(folder: Path, cache_root: Path) -> None:
    cache_root.mkdir()
    cache_root.chmod(0o777)
    with pytest.raises(ResourceError, match="may be changed by other accounts"):
        prepare.prepare_dataset(data_of(folder), 16)
    assert list(cache_root.iterdir()) == []


def test_prepared_photos_are_private(folder: Path, cache_root: Path, tmp_path: Path) -> None:
    made = prepare.prepare_dataset(data_of(folder), 16)
    cache_archive.pack(made, data_of(folder), 16, tmp_path / "packed.zip")
    assert modes(cache_root) == {0o700, 0o600}
    shutil.rmtree(cache_root)
    cache_archive.unpack(tmp_path / "packed.zip", data_of(folder), 16)
    assert modes(cache_root) == {0o700, 0o600}


def modes(root: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}


def test_unpacked_cache_of_others_is_unpacked_again(folder: Path, cache_root: Path, tmp_path: Path) -> None:
    made = prepare.prepare_dataset(data_of(folder), 16)
    cache_archive.pack(made, data_of(folder), 16, tmp_path / "packed.zip")
    exchange_labels(made)
    made.folder.chmod(0o777)
    heard = Heard()
    again = cache_archive.unpack(tmp_path / "packed.zip", data_of(folder), 16, heard)
    assert again.label_indices.tolist() == made.label_indices.tolist()
    assert "may be changed" in heard.lines[0]


def test_old_cache_of_this_account_still_opens(
    folder: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare.prepare_dataset(data_of(folder), 16)
    for path in (cache_root, *cache_root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.setattr(prepare, "_make", lambda *_, **__: pytest.fail("made again"))
    again = prepare.prepare_dataset(data_of(folder), 16)
    assert again == made and np.array_equal(again.images(), made.images())
