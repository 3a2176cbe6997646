"""Whose files count: those of this account and root, in folders that nobody else writes into."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.helpers.strangers import OTHER_ACCOUNT, give_away
from tledge._io import cache_folder, ownership
from tledge.errors import ResourceError

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are elsewhere")


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A folder of this account with a file in a folder in it."""
    (tmp_path / "entry" / "originals").mkdir(parents=True)
    (tmp_path / "entry" / "originals" / "a.png").write_bytes(b"a photo")
    return tmp_path / "entry"


def test_own_folder_has_no_fault(entry: Path) -> None:
    assert ownership.fault_within(entry) == ownership.fault_on_the_way(entry) == ""


@pytest.mark.parametrize("inside", ["", "originals", "originals/a.png"])
def test_entry_of_another_account(entry: Path, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(monkeypatch, entry / inside)
    assert f"belongs to account {OTHER_ACCOUNT}" in ownership.fault_within(entry)


def test_root_is_trusted(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(monkeypatch, entry)
    monkeypatch.setattr("tests.helpers.strangers.OTHER_ACCOUNT", 0)
    assert ownership.fault_within(entry) == ""


@pytest.mark.parametrize("inside", ["", "originals", "originals/a.png"])
@pytest.mark.parametrize("mode", [0o702, 0o720])
def test_entry_that_others_may_change(
    entry: Path, inside: str, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "_is_own_group", lambda *_: False)
    (entry / inside).chmod(mode)
    assert "may be changed by other accounts" in ownership.fault_within(entry)


def test_group_of_one_is_own(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_is_own_group", lambda *_: True)
    entry.chmod(0o775)
    assert ownership.fault_within(entry) == ""


@pytest.mark.parametrize(
    ("name", "members", "is_own"),
    [("ada", [], True), ("ada", ["ada"], True), ("ada", ["bob"], False), ("lab", [], False)],
)
def test_own_group_has_own_name_and_no_others(
    name: str, members: list[str], is_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_name="ada"))
    monkeypatch.setattr("grp.getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=members))
    assert ownership._is_own_group(77, 77) is is_own
    assert ownership._is_own_group(0, 77)


def test_sticky_folder_only_above_an_entry(entry: Path) -> None:
    entry.chmod(0o1777)
    assert ownership.fault_on_the_way(entry) == ""
    assert "may be changed" in ownership.fault_within(entry)


def test_parent_that_others_may_change(entry: Path) -> None:
    entry.parent.chmod(0o777)
    found = ownership.fault_on_the_way(entry / "not yet" / "there")
    assert found == f"{entry.parent} may be changed by other accounts (drwxrwxrwx)"


def test_links_on_the_way_and_where_they_lead(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, far = entry.parent / "link", entry.parent / "far"
    far.symlink_to("entry/../entry")
    link.symlink_to(far)
    assert ownership.fault_on_the_way(link) == ""
    with monkeypatch.context() as others:
        give_away(others, far)
        assert ownership.fault_on_the_way(link).startswith(f"{far} belongs to")
    give_away(monkeypatch, entry)
    assert ownership.fault_on_the_way(link).startswith(f"{entry} belongs to")


def test_endless_links_end(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    assert ownership.fault_on_the_way(tmp_path / "link" / "x") == ""


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_odd_file_in_entry(entry: Path, kind: str) -> None:
    os.mkfifo(entry / "odd") if kind == "pipe" else (entry / "odd").symlink_to("/etc/passwd")
    assert "its odd is no file" in ownership.fault_within(entry)


def test_entry_that_is_a_link(entry: Path) -> None:
    (entry.parent / "other").symlink_to(entry)
    assert ownership.fault_within(entry.parent / "other") == "is a link"


def test_all_accounts_can_be_trusted(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(monkeypatch, entry)
    monkeypatch.setenv(ownership.TRUST, "1")
    assert ownership.fault_within(entry) == ownership.fault_on_the_way(entry) == ""


def test_nothing_is_checked_without_accounts(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(monkeypatch, entry)
    monkeypatch.delattr(os, "geteuid")
    assert ownership.fault_within(entry) == ""


def test_entry_of_others_is_removed(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ownership.remove_of_others(entry) == "" and entry.is_dir()
    assert ownership.remove_of_others(entry / "missing") == ""
    give_away(monkeypatch, entry)
    assert "belongs to" in ownership.remove_of_others(entry)
    assert list(entry.parent.iterdir()) == []


def test_link_is_removed_and_not_its_target(entry: Path) -> None:
    (entry.parent / "other").symlink_to(entry)
    assert ownership.remove_of_others(entry.parent / "other") == "is a link"
    assert [path.name for path in entry.parent.iterdir()] == ["entry"]
    assert (entry / "originals" / "a.png").is_file()


def test_entry_that_cannot_be_removed(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_places: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    give_away(monkeypatch, entry)
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ResourceError, match=r"belongs to.*cannot be removed.*rm -r .*entry.*TLEDGE_CACHE"):
        ownership.remove_of_others(entry)


def test_new_folders_are_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ownership.make_private(tmp_path / "a" / "b")
    with open(tmp_path / "a" / "file", "wb", opener=ownership.private):
        pass
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "file").stat().st_mode) == 0o600


def test_cache_in_a_folder_of_all_is_refused(cache_root: Path) -> None:
    assert cache_folder.own_cache_root() == cache_root
    cache_root.chmod(0o777)
    with pytest.raises(ResourceError, match=rf"{cache_root} may be changed.*chmod go-w.*TLEDGE_CACHE.*TRUST"):
        cache_folder.own_cache_root()
    cache_root.chmod(0o1777)
    assert cache_folder.own_cache_root() == cache_root
