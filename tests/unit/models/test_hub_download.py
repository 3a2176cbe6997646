"""Addresses of TensorFlow Hub: cached, downloaded, or named where they fail."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tledge.errors import MissingError
from tledge.models import hub_download

ADDRESS = "https://tfhub.dev/someone/features/5"


def test_local_folder_is_itself(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    assert hub_download.resolve(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("handle", ["{}", "{}/nothing", "{}/http://tfhub.dev/net"])
def test_folder_without_saved_model(tmp_path: Path, handle: str) -> None:
    with pytest.raises(MissingError, match=r"no SavedModel here.*saved_model\.pb and variables/"):
        hub_download.resolve(handle.format(tmp_path))


def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    return tmp_path / hashlib.sha1(ADDRESS.encode()).hexdigest()


def test_cached_address_needs_no_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = cached(monkeypatch, tmp_path)
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    monkeypatch.setattr(
        "tledge._process.optional_imports.load", lambda *_: pytest.fail("asked for tensorflow_hub")
    )
    assert hub_download.resolve(ADDRESS) == folder


def test_download_fills_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    folder = cached(monkeypatch, tmp_path)

    def download(handle: str) -> None:
        assert handle == ADDRESS and socket.getdefaulttimeout() == hub_download.PATIENCE
        folder.mkdir()
        (folder / "saved_model.pb").touch()

    monkeypatch.setattr("tledge._process.optional_imports.load", lambda *_: SimpleNamespace(resolve=download))
    assert hub_download.resolve(ADDRESS) == folder and socket.getdefaulttimeout() is None


@pytest.mark.parametrize(("fails", "reason"), [(True, "name not known"), (False, r"no saved_model\.pb")])
def test_failed_download_names_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: bool, reason: str
) -> None:
    folder = cached(monkeypatch, tmp_path)

    def download(handle: str) -> None:
        if fails:
            raise OSError("name not known")

    monkeypatch.setattr("tledge._process.optional_imports.load", lambda *_: SimpleNamespace(resolve=download))
    with pytest.raises(MissingError, match=rf"(?s){reason}.*variables/ into {folder}"):
        hub_download.resolve(ADDRESS)
