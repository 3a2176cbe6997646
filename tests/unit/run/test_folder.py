"""The run folder: the newest of several, and what is still to do in one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.run_records import fill
from tledge.errors import RunError
from tledge.run import folder as run_folder
from tledge.run.folder import RunFolder


def test_newest_run_ended_last(tmp_path: Path) -> None:
    for name, seconds in (("a", 200), ("b", 300), ("c", 100)):
        path = fill(tmp_path / name, {"run.json": b"{}"}) / "run.json"
        os.utime(path, (seconds, seconds))
    fill(tmp_path / "unfinished", {"recipe.toml": b""})
    assert run_folder.newest_run(tmp_path).path == tmp_path / "b"


def test_no_finished_run_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "unfinished", {"recipe.toml": b""})
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"no finished run here\. Run `tledge train"):
            run_folder.newest_run(root)


def test_unfinished_run_says_next_command(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a finished run.*`tledge train`"):
        RunFolder(tmp_path).read_run()
    with pytest.raises(RunError, match=r"not a verified run.*`tledge verify`"):
        RunFolder(tmp_path).read_parity()
    assert RunFolder(tmp_path).read_artifacts() == []


def test_new_folder_without_result_is_gone(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "runs" / "new").alone():
        assert (tmp_path / "runs" / "new" / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_new_folder_with_result_stays(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "new")
    with folder.alone():
        folder.labels.write_text("a\n")
    assert [path.name for path in folder.path.iterdir()] == ["labels.txt"]


def test_emptied_folder_keeps_its_lock(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.alone():
        folder.labels.write_text("a\n")
        folder.checkpoints.mkdir()
        (folder.path / "bundle").symlink_to(tmp_path)
        folder.empty()
        assert [path.name for path in folder.path.iterdir()] == [".lock"]
    assert tmp_path.is_dir()
