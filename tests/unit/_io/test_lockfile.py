"""Locks that name their owner: who is refused, who takes over what a dead command left, what is said."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import tledge
from tests.helpers.command_line import Cli
from tests.helpers.lock_holder import held
from tests.helpers.recipes import drawn, tiny_recipe
from tledge._io import lockfile
from tledge._io.lockfile import hold
from tledge.errors import ResourceError, RunError


def owned_by(path: Path, **other: object) -> None:
    """A lock file that a process of this machine left, or with `other` facts another one."""
    path.write_text(json.dumps(asdict(replace(lockfile.current_owner(), **other))))  # type: ignore[arg-type]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def unlocked(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    """A disk on which the system has no locks."""

    def refuse(_file: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_lock_is_gone_afterwards(lock: Path) -> None:
    with hold(lock, "taken") as first:
        assert first and json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_lock_is_given_back_after_an_error(lock: Path) -> None:
    with pytest.raises(ValueError, match="stop"), hold(lock, "taken"):
        raise ValueError("stop")
    with hold(lock, "taken") as first:
        assert first


def test_second_process_is_refused_by_name(lock: Path) -> None:
    host = lockfile.current_owner().host
    told = rf"^taken: process \d+ on {host} \(-c .*\), since \d{{4}}-.*\. Wait until it ends, or end it\.$"
    with held(lock) as other, pytest.raises(RunError, match=told) as refused, hold(lock, "taken"):
        pytest.fail("held twice")
    assert f"process {other.pid} " in str(refused.value)


def test_refused_one_leaves_the_lock_alone(lock: Path) -> None:
    with held(lock):
        before = lock.read_text()
        with pytest.raises(RunError), hold(lock, "taken"):
            pytest.fail("held twice")
        assert lock.read_text() == before


def test_same_thread_goes_on(lock: Path) -> None:
    with hold(lock, "taken"):
        with hold(lock, "taken") as again:
            assert not again
        assert lock.exists()


def test_another_thread_is_refused(lock: Path) -> None:
    said: list[str] = []

    def second() -> None:
        with pytest.raises(RunError) as refused, hold(lock, "taken"):
            pytest.fail("held twice")
        said.append(str(refused.value))

    with hold(lock, "taken"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert f"process {os.getpid()} on" in said[0]


def test_waiting_takes_over(lock: Path) -> None:
    released = threading.Event()
    with held(lock) as other:
        timer = threading.Timer(0.3, lambda: (released.set(), other.communicate("\n")))
        timer.start()
        with hold(lock, "taken", wait=True) as first:
            assert first and released.is_set()
        timer.join()


def test_killed_owner_is_no_obstacle(lock: Path) -> None:
    with held(lock) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert str(other.pid) in lock.read_text()
        with hold(lock, "taken") as first:
            assert first


@pytest.mark.parametrize("other", [{"pid": 1}, {"pid": 1, "boot": "before"}, {"pid": 1, "host": "container"}])
def test_stale_owner_is_no_obstacle(lock: Path, other: dict[str, object]) -> None:
    """A number in use again, a reboot, a container with a name of its own."""
    owned_by(lock, **other)
    with hold(lock, "taken") as first:
        assert first


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', "[]", "\0" * 90, '{"pid": "x", "host": "h"}'])
def test_torn_lock_is_no_obstacle(lock: Path, text: str) -> None:
    lock.write_text(text)
    with hold(lock, "taken") as first:
        assert first


@pytest.mark.parametrize("wait", [False, True])
def test_another_machines_lock_stands(lock: Path, wait: bool) -> None:
    owned_by(lock, host="server-7", boot="another", pid=4321)
    told = rf"process 4321 on server-7 .*remove {lock}\.$"
    with pytest.raises(RunError, match=told), hold(lock, "taken", wait=wait):
        pytest.fail("nobody can tell whether it is still there")
    lock.unlink()
    with hold(lock, "taken") as first:
        assert first


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_disk_without_locks_asks_for_the_process(
    lock: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    unlocked(monkeypatch, number)
    owned_by(lock, pid=os.getppid())
    with pytest.raises(RunError, match=f"process {os.getppid()} on"), hold(lock, "taken"):
        pytest.fail("its process is there")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    owned_by(lock, pid=ended.pid)
    with hold(lock, "taken") as first:
        assert first


def test_disk_without_locks_after_a_reboot(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlocked(monkeypatch)
    owned_by(lock, pid=os.getppid(), boot="before")
    with hold(lock, "taken") as first:
        assert first


def test_owner_that_is_about_to_say_its_name(lock: Path) -> None:
    """Between the lock and the name in it; and it may be gone by then."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(0.1, lambda: owned_by(lock, pid=4321))
        timer.start()
        with pytest.raises(RunError, match="process 4321 on"), hold(lock, "taken"):
            pytest.fail("held twice")
        timer.join()
        lock.write_text("")
        timer = threading.Timer(0.1, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        timer.start()
        with hold(lock, "taken") as first:
            assert first
        timer.join()


def test_owner_without_a_name(lock: Path) -> None:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="its process has not written its name yet"), hold(lock, "taken"):
            pytest.fail("held twice")


def test_lock_removed_meanwhile_is_not_anothers(lock: Path) -> None:
    """Who removes a lock by hand lets the next one in; the first must not take that one's away."""
    with hold(lock, "taken"):
        lock.unlink()
        with held(lock):
            pass
        lock.write_text("of a third")
    assert lock.read_text() == "of a third"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="cannot be written"), hold(tmp_path / ".lock", "taken"):
        pytest.fail("a lock that cannot be")


def test_unwritable_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    told = r"cannot be written \(Is a directory\)"
    with pytest.raises(ResourceError, match=told), hold(tmp_path / ".lock", "taken"):
        pytest.fail("a lock that cannot be")


@pytest.fixture
def only_readable(monkeypatch: pytest.MonkeyPatch, lock: Path) -> None:
    """The lock file of another user, who is not root: it opens only to be read."""
    is_theirs, opens = [True], os.open

    def open_as_another(path: Path, flags: int, mode: int = 0o777) -> int:
        if path == lock and lock.exists() and is_theirs[0] and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        is_theirs[0] = lock.exists()  # what this process makes in its place is its own
        return opens(path, flags, mode)

    monkeypatch.setattr(os, "open", open_as_another)


@pytest.mark.usefixtures("only_readable")
def test_another_users_lock_is_refused_by_name(lock: Path) -> None:
    with held(lock) as other, pytest.raises(RunError, match=f"process {other.pid} on"), hold(lock, "taken"):
        pytest.fail("held twice")


@pytest.mark.usefixtures("only_readable")
def test_another_users_stale_lock_is_taken_over(lock: Path) -> None:
    owned_by(lock, pid=1)
    before = lock.stat().st_ino, lock.stat().st_mtime_ns
    with hold(lock, "taken") as first:
        assert first and (lock.stat().st_ino, lock.stat().st_mtime_ns) != before
        assert json.loads(lock.read_text())["pid"] == os.getpid()


@pytest.mark.usefixtures("only_readable")
def test_another_users_stale_lock_that_stays_is_named(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owned_by(lock, pid=1)

    def refuse(_path: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ResourceError, match="cannot be written"), hold(lock, "taken"):
        pytest.fail("a lock that cannot be")


@pytest.mark.parametrize("text", ["of somebody else\n", None])
def test_nothing_is_written_through_a_link(tmp_path: Path, lock: Path, text: str | None) -> None:
    target = tmp_path / "somebody's"
    if text is not None:
        target.write_text(text)
    lock.symlink_to(target)
    message = rf"^{lock}: the lock file is a symbolic link to {target}.*Remove the link: rm {lock}$"
    with pytest.raises(ResourceError, match=message), hold(lock, "taken"):
        pytest.fail("a lock behind a link")
    assert (target.read_text() if target.exists() else None) == text
    assert lock.is_symlink()


def test_lock_that_becomes_a_link_meanwhile_stays(lock: Path) -> None:
    target = lock.with_name("moved")
    with hold(lock, "taken"):
        lock.rename(target)
        lock.symlink_to(target)
    assert lock.is_symlink() and target.exists()


def test_lock_that_is_no_regular_file_is_named(lock: Path) -> None:
    os.mkfifo(lock)
    message = rf"^{lock}: the lock file is not a regular file.*rm {lock}$"
    with pytest.raises(ResourceError, match=message), hold(lock, "taken"):
        pytest.fail("a lock in a pipe")


def test_lock_beside_a_file_of_any_name(tmp_path: Path) -> None:
    assert lockfile.beside(tmp_path / "a.zip").name == ".a.zip.lock"
    longest = [lockfile.beside(tmp_path / ("n" * 254 + last)) for last in "ab"]
    assert longest[0] != longest[1] and longest[0].name.startswith(".nnn")
    for path in longest:
        with hold(path, "taken") as first:
            assert first


def test_command_is_told_as_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/tledge/__main__.py", "train", "my recipe.toml"])
    assert lockfile.current_owner().command == "tledge train 'my recipe.toml'"
    monkeypatch.setattr(sys, "argv", ["/bin/tledge", "list"])
    assert lockfile.current_owner().command == "tledge list"


@pytest.mark.parametrize(("zone", "ends"), [("XYZ-25:61", "+00:00"), ("UTC-5:45", "+05:45")])
def test_time_in_any_zone(zone: str, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """POSIX allows zones of more than a day, which Python's own time does not."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert lockfile.current_owner().since.endswith(ends)
    finally:
        monkeypatch.undo()
        time.tzset()


RECIPE = tiny_recipe(drawn())


def test_training_into_a_taken_folder(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(RECIPE)
    Path("out").mkdir()
    with held(tmp_path / "out" / ".lock") as other:
        for more in ((), ("--resume",), ("--force",)):
            done = cli("train", "tiny.toml", "--out", "out", *more)
            assert done.code == 1 and f"process {other.pid} on" in done.err
        with pytest.raises(RunError, match="another command is writing into this folder"):
            tledge.train("tiny.toml", out="out")


def test_sheets_into_a_taken_folder(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(RECIPE)
    Path("out").mkdir()
    with held(tmp_path / "out" / ".lock"):
        assert cli("data", "tiny.toml", "--out", "out").code == 1


def test_hard_link_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("of the user")
    os.link(tmp_path / "letter.txt", tmp_path / ".lock")
    with (
        pytest.raises(ResourceError, match=rf"hard link.*Remove it: rm {tmp_path / '.lock'}$"),
        lockfile.hold(tmp_path / ".lock", "busy"),
    ):
        pass
    assert (tmp_path / "letter.txt").read_text() == "of the user"
