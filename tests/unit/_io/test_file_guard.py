"""Tests of opening files of others: regular files only, none behind a link, none too large."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tledge._io import file_guard
from tledge.errors import ArtifactError, RunError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"twelve bytes")
    return path


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


def make_link(path: Path) -> None:
    path.with_name("secret").write_text("secret")
    path.symlink_to("secret")


def make_device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


REFUSED = {
    "a pipe": make_pipe,
    "a socket": make_socket,
    "a folder": Path.mkdir,
    "a symbolic link to secret, which is not followed": make_link,
    "a symbolic link to /dev/zero": make_device_link,
}


def test_file_is_read(file: Path) -> None:
    assert file_guard.read_bytes(file) == b"twelve bytes"


@pytest.mark.parametrize("kind", REFUSED)
def test_anything_else_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    REFUSED[kind](path)
    with pytest.raises(RunError) as caught:
        file_guard.open_file(path)
    assert str(caught.value).startswith(f"{path}: is {kind}")
    assert "expected a regular file" in str(caught.value)


def test_device_is_refused() -> None:
    with pytest.raises(RunError, match="/dev/zero: is a device; expected a regular file"):
        file_guard.open_file(Path("/dev/zero"))


def test_link_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a b"
    make_link(path)
    with pytest.raises(RunError, match=f"Put a copy of what it leads to.*: rm '{path}'"):
        file_guard.open_file(path)


def test_missing_file_stays_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_guard.open_file(tmp_path / "none")


def test_caller_chooses_error(tmp_path: Path) -> None:
    make_pipe(tmp_path / "x")
    with pytest.raises(ArtifactError):
        file_guard.open_file(tmp_path / "x", error=ArtifactError)


@pytest.mark.parametrize("make", [make_pipe, make_device_link, make_socket])
def test_followed_link_leads_to_file_only(make, tmp_path: Path, file: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    assert file_guard.read_bytes(tmp_path / "link", follow=True) == b"twelve bytes"
    make(tmp_path / "x")
    (tmp_path / "other").symlink_to("x")
    with pytest.raises(RunError, match=r"expected a regular file, or a link to one\.$"):
        file_guard.open_file(tmp_path / "other", follow=True)


def test_large_file_is_refused(file: Path) -> None:
    assert file_guard.read_bytes(file, limit=12) == b"twelve bytes"
    with pytest.raises(RunError, match="file: too large, 12 bytes; at most 11 are read"):
        file_guard.read_bytes(file, limit=11)


def test_growing_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = file_guard._require_size
    monkeypatch.setattr(file_guard, "_require_size", lambda path, size, limit, error: None)
    opened = file_guard.open_file(file, limit=4)
    monkeypatch.setattr(file_guard, "_require_size", real)
    monkeypatch.setattr(file_guard, "open_file", lambda *_, **__: opened)
    with pytest.raises(RunError, match="too large"):
        file_guard.read_bytes(file, limit=4)


def test_no_part_below_folder_is_link(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    (other / "file").write_text("secret")
    (run / "evidence").symlink_to(other)
    with pytest.raises(RunError, match=f"{run}/evidence: is a symbolic link to {other}"):
        file_guard.open_file(run / "evidence" / "file", below=run)


def test_folder_that_user_names_may_be_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "logs").mkdir(parents=True)
    (tmp_path / "disk" / "logs" / "file").write_text("words")
    run = tmp_path / "run"
    run.symlink_to("disk")
    assert file_guard.read_bytes(run / "logs" / "file", below=run) == b"words"


def test_link_that_comes_late_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    (tmp_path / "other").mkdir()
    (run / "logs").mkdir(parents=True)
    for folder in (tmp_path / "other", run / "logs"):
        (folder / "file").write_text("words")
    real = file_guard._open

    def exchange(path: Path, below: Path | None, flags: int) -> int:
        (run / "logs").rename(run / "old")
        (run / "logs").symlink_to(tmp_path / "other")
        return real(path, below, flags)

    monkeypatch.setattr(file_guard, "_open", exchange)
    with pytest.raises(RunError, match="logs: is a symbolic link"):
        file_guard.open_file(run / "logs" / "file", below=run)


def test_descriptor_is_closed(tmp_path: Path, file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for limit in (3, 100):
        with suppress(RunError):
            file_guard.read_bytes(file, below=tmp_path, limit=limit)
    assert len(os.listdir("/proc/self/fd")) == before
