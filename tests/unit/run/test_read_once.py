"""A value is read once for each state of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tledge.run.read_once import ReadOnce, state_of


class Reader:
    """Counts how often it reads a file's text."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def __call__(self) -> str:
        self.count += 1
        return self.path.read_text()


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "a.txt").write_text("old")
    return Reader(tmp_path / "a.txt")


def test_unchanged_file_is_read_once(reader: Reader) -> None:
    once = ReadOnce()
    assert [once.get(reader.path, "text", reader) for _again in range(3)] == ["old"] * 3
    assert reader.count == 1


def test_changed_file_is_read_again(reader: Reader) -> None:
    once = ReadOnce()
    once.get(reader.path, "text", reader)
    reader.path.write_text("new and longer")
    assert once.get(reader.path, "text", reader) == "new and longer"


def test_kinds_are_kept_apart(reader: Reader) -> None:
    once = ReadOnce()
    assert once.get(reader.path, "text", reader) == "old"
    assert once.get(reader.path, "length", lambda: 3) == 3


def test_file_that_changes_while_it_is_read_is_not_kept(reader: Reader) -> None:
    once = ReadOnce()

    def read_and_change() -> str:
        text = reader()
        reader.path.write_text(f"{text} changed")
        return text

    assert once.get(reader.path, "text", read_and_change) == "old"
    assert once.get(reader.path, "text", reader) == "old changed"


def test_missing_file_is_not_kept(tmp_path: Path) -> None:
    once = ReadOnce()
    assert once.get(tmp_path / "none", "text", lambda: 1) == 1
    assert once.get(tmp_path / "none", "text", lambda: 2) == 2
    assert state_of(tmp_path / "none") == ()


def test_folder_is_the_state_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    before = state_of(tmp_path)
    (tmp_path / "below" / "a.txt").write_text("a")
    assert before == () and [name for name, *_rest in state_of(tmp_path)] == ["below/a.txt"]
