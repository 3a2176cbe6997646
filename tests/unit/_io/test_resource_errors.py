"""What a machine runs short of: told by every library's words, with what to do, before anything is lost."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from tledge import dataset, filling, runs, shortage
from tledge.errors import ArtifactError, ResourceError, TledgeError

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        OSError("1024 requested and 12 written"),
        RuntimeError("Unable to close file (errno = 28, error message = 'No space left on device')"),
    ],
    ids=["errno", "quota", "limit", "numpy", "hdf5"],
)
def test_full_disk_in_every_librarys_words(error: Exception, tmp_path: Path) -> None:
    said = r"out\.npz: the disk is full, .* MiB free.*Make room"
    with pytest.raises(ResourceError, match=said), runs.replacing(tmp_path / "out.npz") as made:
        made.write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_cause_behind_another_error_is_found(tmp_path: Path) -> None:
    try:
        try:
            raise FULL
        except OSError as error:
            raise ValueError("could not save") from error
    except ValueError as error:
        assert "disk is full" in str(shortage.cause(error, tmp_path))


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (
        ValueError("no"),
        OSError(errno.EIO, "Input/output error"),
        FileNotFoundError(2, "none", "x"),
    ):
        with pytest.raises(type(error)), shortage.explained(tmp_path):
            raise error
    with pytest.raises(TledgeError, match="kept"), shortage.explained(tmp_path):
        raise TledgeError("kept")


def test_what_stood_there_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    path.write_text("old")
    with pytest.raises(ResourceError), runs.replacing(path):
        raise FULL
    assert path.read_text() == "old"


def test_little_memory_is_named() -> None:
    for error in (MemoryError(), ImportError("lib.so: failed to map segment from shared object")):
        with (
            pytest.raises(ResourceError, match=r"out of memory.*ulimit -v.*memory_mib"),
            shortage.explained(),
        ):
            raise error


def test_rights_are_named_with_the_place() -> None:
    with (
        pytest.raises(ResourceError, match=r"/x/cache: Permission denied.*TLEDGE_CACHE"),
        shortage.explained(),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", "/x/cache")


def test_path_through_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file/below/out.json", "link/out.json"):
        with pytest.raises(ResourceError, match=r"cannot be written .*a link that leads nowhere"):
            runs.write_text(tmp_path / name, "text")


def test_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "手" * 85):
        runs.write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    with pytest.raises(ResourceError, match="File name too long"):
        runs.write_text(tmp_path / ("n" * 256), "text")


def test_removed_folder_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ResourceError, match="current folder was removed"):
        runs.write_text(Path("runs/x.json"), "text")
    with pytest.raises(ResourceError, match="current folder was removed"), shortage.explained():
        Path.cwd()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call here")
def test_mapped_array_takes_its_place_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int, _start: int, size: int) -> None:
        assert size == (tmp_path / "a.npy").stat().st_size > 6 * 4
        raise FULL

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        filling.array(tmp_path / "a.npy", np.float32, (2, 3))


def test_mapped_array_is_zeros_to_fill(tmp_path: Path) -> None:
    made = filling.array(tmp_path / "a.npy", np.float32, (2, 3))
    made[1] = 5
    made.flush()
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 0, 0], [5, 5, 5]]
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 24


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [
        (-9, "", "was killed (SIGKILL), often for want of memory. Close other programs"),
        (-signal.SIGABRT, "terminate called: 'std::bad_alloc'", "ran out of memory (SIGABRT)"),
        (1, "Traceback\n  line\nMemoryError", "ran out of memory (exit code 1)"),
        (-signal.SIGSEGV, "one\ntwo", "crashed (SIGSEGV). Its last words:\none\ntwo"),
        (-signal.SIGABRT, "F00 failed: x\n    @     0x7f1a  f()\n    @ 0x1 g()", "words: F00 failed: x"),
        (3, "only", "failed (exit code 3). Its last words: only"),
        (-64, "", "crashed (SIGRTMAX)"),
    ],
)  # fmt: skip
def test_ending_says_how_and_why(code: int, said: str, words: str) -> None:
    assert words in shortage.ending(code, said)


def test_long_process_is_stopped() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(ArtifactError, match=r"net\.tflite: Vela took more than 0\.2 s and was stopped"):
        shortage.patiently(command, "net.tflite: Vela", 0.2)


def test_account_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "TLEDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ResourceError, match=r"no home folder\. Set HOME.*TLEDGE_CACHE"):
        dataset.cache_root()
    monkeypatch.setenv("TLEDGE_CACHE", "/somewhere")
    assert dataset.cache_root() == Path("/somewhere")
