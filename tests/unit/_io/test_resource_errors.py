"""What a machine runs short of: told by every library's words, with what to do, before anything is lost."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.helpers.full_disk import FULL
from tledge._io import atomic, files, resource_errors
from tledge.errors import ResourceError, TledgeError


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("1024 requested and 12 written"),
        RuntimeError("Unable to close file (errno = 28, error message = 'No space left on device')"),
    ],
    ids=["errno", "quota", "numpy", "hdf5"],
)
def test_full_disk_in_every_librarys_words(error: Exception, tmp_path: Path) -> None:
    said = r"out\.npz: the disk is full, .* MiB free.*Make room"
    with pytest.raises(ResourceError, match=said), atomic.replacing(tmp_path / "out.npz") as made:
        made.write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("Unable to write (errno = 27, error message = 'File too large')"),
    ],
    ids=["errno", "hdf5"],
)
@pytest.mark.parametrize(
    ("limit", "told"), [(10_240, r"ulimit -f; here 10240 bytes"), (-1, "the file system's, or ulimit -f")]
)
def test_size_limit_of_files_is_no_full_disk(
    error: Exception, limit: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    said = rf"out\.npz: would be larger than the size limit of files \({told}\)\. Raise it"
    with pytest.raises(ResourceError, match=said), atomic.replacing(tmp_path / "out.npz"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_numpy_at_a_size_limit_is_no_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says only that bytes are missing."""
    resource = pytest.importorskip("resource")
    error = OSError("1024 requested and 12 written")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10_240, 10_240))
    assert "size limit of files" in str(resource_errors.cause(error, tmp_path))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    assert "disk is full" in str(resource_errors.cause(error, tmp_path))


def test_cause_behind_another_error_is_found(tmp_path: Path) -> None:
    try:
        try:
            raise FULL
        except OSError as error:
            raise ValueError("could not save") from error
    except ValueError as error:
        assert "disk is full" in str(resource_errors.cause(error, tmp_path))


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (
        ValueError("no"),
        OSError(errno.EBUSY, "Device or resource busy"),
        FileNotFoundError(2, "none", "x"),
    ):
        with pytest.raises(type(error)), resource_errors.resource_errors_explained(tmp_path):
            raise error
    with pytest.raises(TledgeError, match="kept"), resource_errors.resource_errors_explained(tmp_path):
        raise TledgeError("kept")


def test_what_stood_there_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    path.write_text("old")
    with pytest.raises(ResourceError), atomic.replacing(path):
        raise FULL
    assert path.read_text() == "old"


def test_little_memory_is_named() -> None:
    for error in (MemoryError(), ImportError("lib.so: failed to map segment from shared object")):
        with (
            pytest.raises(ResourceError, match=r"out of memory.*ulimit -v.*memory_mib"),
            resource_errors.resource_errors_explained(),
        ):
            raise error


def test_rights_are_named_with_the_place() -> None:
    with (
        pytest.raises(ResourceError, match=r"/x/cache: Permission denied.*TLEDGE_CACHE"),
        resource_errors.resource_errors_explained(),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", "/x/cache")


def test_path_through_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file/below/out.json", "link/out.json"):
        with pytest.raises(ResourceError, match=r"cannot be written .*a link that leads nowhere"):
            files.write_text(tmp_path / name, "text")


def test_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "手" * 85):
        files.write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    with pytest.raises(ResourceError, match="File name too long"):
        files.write_text(tmp_path / ("n" * 256), "text")


def test_removed_folder_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ResourceError, match="current folder was removed"):
        files.write_text(Path("runs/x.json"), "text")
    with (
        pytest.raises(ResourceError, match="current folder was removed"),
        resource_errors.resource_errors_explained(),
    ):
        Path.cwd()


def broken(path: Path | None) -> OSError:
    return OSError(errno.EIO, "Input/output error", *([str(path)] if path else []))


def test_disk_that_fails_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    told = r"model\.keras: the disk reports an error \(Input/output error\).*then run the command again"
    with pytest.raises(ResourceError, match=told), resource_errors.resource_errors_explained():
        raise broken(file)
    with pytest.raises(ResourceError, match=told), resource_errors.resource_errors_explained():
        raise ValueError("of a library") from broken(file)
    assert "model.keras: the disk reports" in str(resource_errors.cause(broken(None), file))
    assert str(resource_errors.cause(broken(None))).startswith("a disk reports an error")
    assert "the disk reports" in resource_errors.refused(broken(file), file)
