"""Files under final names: on the disk before they are renamed, and put right after kills."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from tledge._io import atomic
from tledge.run.folder import RunFolder

KILLED = """
import os, signal, sys
from pathlib import Path
from tledge._io import atomic as whole
whole._exchange = lambda *paths: False
before, calls = os.replace, []
def replace(*paths):
    calls.append(paths)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    before(*paths)
os.replace = replace
with whole.replacing(Path(sys.argv[1])) as made:
    made.mkdir()
    (made / "content").write_text("new")
"""


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches the disk and what is renamed, in order, by name."""
    seen: list[str] = []
    sync, rename = os.fsync, os.replace

    def fsync(file: int) -> None:
        seen.append(Path(os.readlink(f"/proc/self/fd/{file}")).name)
        sync(file)

    def replace(one: Path, other: Path) -> None:
        seen.append(f"-> {other.name}")
        rename(one, other)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return seen


def test_file_is_on_the_disk_before_its_name(tmp_path: Path, synced: list[str]) -> None:
    with atomic.replacing(tmp_path / "file") as made:
        made.write_text("new")
    assert synced == ["file", "-> file", tmp_path.name]


def test_folder_is_on_the_disk_before_its_name(tmp_path: Path, synced: list[str]) -> None:
    with atomic.replacing(tmp_path / "out") as made:
        (made / "deep").mkdir(parents=True)
        (made / "deep" / "file").write_text("new")
    assert synced == ["out", "file", "deep", "-> out", tmp_path.name]


def test_folder_is_never_missing(tmp_path: Path, synced: list[str]) -> None:
    """The two change places in one instant, where the system can."""
    if sys.platform != "linux":
        pytest.skip("only Linux exchanges names")
    (tmp_path / "out").mkdir()
    with atomic.replacing(tmp_path / "out") as made:
        made.mkdir()
        (made / "content").write_text("new")
    assert not [one for one in synced if one.startswith("->")]
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "content"]


@pytest.mark.parametrize(("call", "content"), [(1, "old"), (2, "new")])
def test_folder_survives_a_kill_between_two_names(tmp_path: Path, call: int, content: str) -> None:
    """Where names cannot be exchanged: before the old folder is aside, and before the new one is there."""
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    (tmp_path / "run" / "bundle" / "content").write_text("old")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run" / "bundle"), str(call)]
    assert subprocess.run(command, check=False).returncode == -9
    assert (tmp_path / "run" / "bundle").exists() == (call == 1)
    with RunFolder(tmp_path / "run").alone():
        assert (tmp_path / "run" / "bundle" / "content").read_text() == content
    assert os.listdir(tmp_path / "run") == ["bundle"]


class Interrupting:
    """Raises KeyboardInterrupt at line number `at` of those that run in `atomic` and `shutil`.

    Not at a mere `try:`, where Python looks for no signals.
    """

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _argument: object) -> object:
        code = frame.f_code
        if Path(code.co_filename).name not in ("atomic.py", "shutil.py"):
            return None
        said = linecache.getline(code.co_filename, frame.f_lineno).strip()
        self.left -= event == "line" and said not in ("try:", "finally:")
        if self.left == 0:
            raise KeyboardInterrupt
        return self


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # an interrupt between open and with
def test_interrupt_at_any_line_leaves_nothing(tmp_path: Path) -> None:
    for count in range(1, 2000):
        path = tmp_path / str(count) / "bundle"
        path.mkdir(parents=True)
        for name in ("one", "two"):
            (path / name).write_text("old")
        interrupting, before = Interrupting(count), sys.gettrace()
        sys.settrace(interrupting)  # type: ignore[arg-type]
        try:
            with atomic.replacing(path) as made:
                made.mkdir()
                (made / "one").write_text("new")
        except (KeyboardInterrupt, OSError):  # the latter where shutil then closes a file twice
            pass
        finally:
            sys.settrace(before)
        assert [one.name for one in path.parent.iterdir()] == ["bundle"], f"line {count}"
        assert {one.name: one.read_text() for one in path.iterdir()} in (
            {"one": "old", "two": "old"},
            {"one": "new"},
        )
        if interrupting.left > 0:
            break
    assert 50 < count < 1999, "every line was interrupted once"


def test_leftovers_go_and_other_dot_names_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for place in (folder.path, folder.artifacts, folder.checkpoints, folder.logs, folder.path / "feedback"):
        (place / f".model.keras{atomic.UNFINISHED}ab12cd34").mkdir(parents=True)
    for name in (".git", ".model.keras", ".notes.tledge"):
        (tmp_path / name).mkdir()
    with folder.alone():
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob(".*")}
    kept = {".git", ".model.keras", ".notes.tledge", ".lock"}
    # Nobody holds a lock for what the preview keeps.
    assert left == {*kept, f"feedback/.model.keras{atomic.UNFINISHED}ab12cd34"}


def test_sweeping_one_name_leaves_the_others(tmp_path: Path) -> None:
    for name in ("a[b].zip", "ab.zip"):
        (tmp_path / f".{name}{atomic.UNFINISHED}x").mkdir()
    atomic.remove_leftovers(tmp_path, "a[b].zip")
    assert os.listdir(tmp_path) == [f".ab.zip{atomic.UNFINISHED}x"]


def test_nested_use_sweeps_nothing(tmp_path: Path) -> None:
    """What is being written in an outer block is no leftover."""
    folder = RunFolder(tmp_path)
    with folder.alone(), atomic.replacing(folder.labels) as made:
        made.write_text("a\n")
        with folder.alone():
            pass
    assert folder.labels.read_text() == "a\n"


@pytest.mark.parametrize("many", [0, 300])
def test_folder_with_links_that_lead_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Files are put on the disk one by one, or all at once where there are many; links are names."""
    monkeypatch.setattr(atomic, "MANY", many)
    waited: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _file: waited.append("one"))
    monkeypatch.setattr(os, "sync", lambda: waited.append("all"), raising=False)
    with atomic.replacing(tmp_path / "made") as made:
        made.mkdir()
        (made / "file").write_text("content")
        (made / "link").symlink_to("/nowhere/at/all")
    assert (tmp_path / "made" / "link").is_symlink()
    assert ("all" in waited) == (many == 0) and waited.count("one") == (1 if many == 0 else 3)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_leftover_that_is_no_folder_is_removed_alone(kind: str, tmp_path: Path) -> None:
    """A link in the place of a leftover does not lead the clean-up elsewhere."""
    other = tmp_path / "other"
    (other / "old").mkdir(parents=True)
    (other / "photos").write_text("the user's own")
    folder = tmp_path / "run"
    folder.mkdir()
    leftover = folder / ".photos.tledge-0123"
    leftover.symlink_to(other) if kind == "link" else leftover.touch()
    atomic.remove_leftovers(folder)
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in other.iterdir()) == ["old", "photos"]
