"""Tests of walking folders of others: no link is followed, and nothing but files and folders is accepted."""

import os
from pathlib import Path

import pytest

from tledge._io import folder_guard
from tledge.errors import ArtifactError, RunError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("b/two", "a/deep/one", "zero", "a.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


@pytest.fixture
def other(tmp_path: Path) -> Path:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "id_ed25519").write_text("secret")
    return tmp_path / "other"


def test_order_is_fixed(folder: Path) -> None:
    walked = [entry.name for entry in folder_guard.walk(folder)]
    assert walked == ["a", "a.txt", "b", "zero", "a/deep", "a/deep/one", "b/two"]
    assert [entry.name for entry in folder_guard.files(folder)] == ["a.txt", "a/deep/one", "b/two", "zero"]


def test_link_is_told_and_not_followed(folder: Path, other: Path) -> None:
    (folder / "b" / "link").symlink_to(other)
    names = {entry.name: entry.is_folder or entry.is_file for entry in folder_guard.walk(folder)}
    assert names["b/link"] is False
    assert not any("id_ed25519" in name for name in names)


def test_named_folder_may_be_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert len(folder_guard.files(tmp_path / "link")) == 4


@pytest.mark.parametrize("target", ["zero", "/nowhere", "a", "."])
def test_link_is_refused_by_name(target: str, folder: Path) -> None:
    (folder / "b" / "link").symlink_to(target)
    with pytest.raises(
        RunError, match=f"{folder}/b/link: is a symbolic link to {target}, which is not followed"
    ):
        folder_guard.require_plain(folder, folder.parent)


def test_pipe_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "a" / "pipe")
    with pytest.raises(ArtifactError, match="a/pipe: is a pipe; expected a regular file or a folder"):
        folder_guard.files(folder, ArtifactError)


def test_many_entries_are_refused(folder: Path) -> None:
    assert len(folder_guard.entries(folder, most=7)) == 7
    with pytest.raises(RunError, match="holds more than 6 files and folders"):
        folder_guard.entries(folder, most=6)


def test_missing_folder_stays_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        folder_guard.files(tmp_path / "none")
