"""Files that several clients take: one copy in memory, and none afterwards."""

from __future__ import annotations

import pytest

from tledge.preview.shared_files import SharedFiles


def test_file_is_held_once_and_forgotten() -> None:
    read: list[str] = []

    def reading(name: str) -> bytes:
        read.append(name)
        return name.encode() * 3

    files = SharedFiles(reading)
    with files.hold("a") as first, files.hold("b"), files.hold("a") as second:
        assert first is second and first == b"aaa"
    assert read == ["a", "b"] and files._held == {}
    with files.hold("a"):
        pass
    assert read == ["a", "b", "a"]


def test_failure_holds_nothing() -> None:
    def failing(name: str) -> bytes:
        raise OSError(name)

    files = SharedFiles(failing)
    for _twice in range(2):
        with pytest.raises(OSError, match="x"), files.hold("x"):
            pass
    assert files._held == {}
