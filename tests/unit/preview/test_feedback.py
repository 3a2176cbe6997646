"""Pictures kept with their right label: where, how many, and only when asked for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.helpers.fake_device_bundle import photo
from tledge.errors import DataError, ResourceError
from tledge.preview import feedback


def test_label_that_is_no_folder_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        feedback.keep(tmp_path, "../up", ["../up"], photo(0))
    assert list(tmp_path.iterdir()) == []


def kept(folder: Path, chosen: bool = False) -> Path:
    return feedback.keep(folder, "red", ["red"], photo(0), chosen=chosen)


def test_what_is_kept_is_private(tmp_path: Path) -> None:
    path = kept(tmp_path / "new" / "feedback")
    assert path.read_bytes() == photo(0) and list(path.parent.iterdir()) == [path]
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


def test_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Unless the user named it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "feedback").symlink_to("elsewhere")
    with pytest.raises(ResourceError, match=r"feedback: is a symbolic link to elsewhere.*expected a folder"):
        kept(tmp_path / "feedback")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert kept(tmp_path / "feedback", chosen=True).resolve().parent == tmp_path / "elsewhere" / "red"


@pytest.mark.parametrize("target", ["../elsewhere", "../nothing", "/dev/null"])
@pytest.mark.parametrize("chosen", [True, False])
def test_label_that_is_a_link_is_refused(tmp_path: Path, target: str, chosen: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "feedback").mkdir()
    (tmp_path / "feedback" / "red").symlink_to(target)
    with pytest.raises(ResourceError, match=r"red: is a symbolic link to .*, which is not followed"):
        kept(tmp_path / "feedback", chosen)
    assert list((tmp_path / "elsewhere").iterdir()) == [] and not (tmp_path / "nothing").exists()


def test_photo_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    path = kept(tmp_path / "feedback")
    path.unlink()
    (tmp_path / "own.txt").write_text("mine")
    path.symlink_to(tmp_path / "own.txt")
    assert kept(tmp_path / "feedback") == path and not path.is_symlink()
    assert (tmp_path / "own.txt").read_text() == "mine"


def test_folder_exchanged_for_a_link_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that was looked at is the one that is written into."""
    (tmp_path / "elsewhere").mkdir()

    def exchange(name: str, data: bytes, parent: int) -> None:
        (tmp_path / "feedback").rename(tmp_path / "moved")
        (tmp_path / "feedback").symlink_to("elsewhere")
        write(name, data, parent)

    write = feedback._write
    monkeypatch.setattr(feedback, "_write", exchange)
    kept(tmp_path / "feedback")
    assert (
        list((tmp_path / "elsewhere").iterdir()) == []
        and len(list((tmp_path / "moved" / "red").iterdir())) == 1
    )


@pytest.mark.parametrize("place", ["feedback", "feedback/red"])
def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    kept(tmp_path / "feedback").unlink()
    inode, real = (tmp_path / place).stat().st_ino, os.fstat

    def planted(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[stat.ST_UID] += found[stat.ST_INO] == inode
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", planted)
    with pytest.raises(ResourceError, match=f"{place}: belongs to another user"):
        kept(tmp_path / "feedback")
    assert list((tmp_path / "feedback" / "red").iterdir()) == []


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_names: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        kept(tmp_path / "feedback")
    assert list((tmp_path / "feedback" / "red").iterdir()) == []


@pytest.mark.parametrize(
    ("stands", "label", "mixed"),
    [("Cat", "cat", True), ("cat", "cat", False), ("e\u0301te\u0301", "\u00e9t\u00e9", False)],
)
def test_label_that_the_disk_mixes_with_another(
    stands: str, label: str, mixed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on disks that do not tell case; some change the form of accents, which mixes no labels."""
    monkeypatch.setattr(os, "listdir", lambda _folder: [stands])
    if not mixed:
        assert feedback.keep(tmp_path / "feedback", label, (label,), photo(0)).is_file()
        return
    with pytest.raises(ResourceError, match="takes it for the folder 'Cat' of another label"):
        feedback.keep(tmp_path / "feedback", label, ("Cat", "cat"), photo(0))
