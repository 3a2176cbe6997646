"""Addresses of TensorFlow Hub: cached, downloaded, or named where they fail."""

import hashlib
import os
import stat
import tempfile
import urllib.request
from email.message import Message
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.strangers import give_away
from tledge.errors import MissingError, RecipeError, ResourceError
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
        assert os.environ["TFHUB_CACHE_DIR"] == str(tmp_path)
        assert handle == ADDRESS and socket.getdefaulttimeout() == hub_download.PATIENCE
        folder.mkdir()
        folder.chmod(0o777)
        (folder / "saved_model.pb").touch()

    monkeypatch.setattr("tledge._process.optional_imports.load", lambda *_: SimpleNamespace(resolve=download))
    assert hub_download.resolve(ADDRESS) == folder == hub_download.resolve(ADDRESS)
    assert socket.getdefaulttimeout() is None


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


def test_cache_is_private_and_below_tledges_own(monkeypatch: pytest.MonkeyPatch, cache_root: Path) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    with pytest.raises(MissingError, match=rf"variables/ into {cache_root}/hub/[0-9a-f]{{40}}"):
        monkeypatch.setattr(
            "tledge._process.optional_imports.load", lambda *_: SimpleNamespace(resolve=lambda _: None)
        )
        hub_download.resolve(ADDRESS)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (cache_root, cache_root / "hub")] == [0o700, 0o700]
    assert "TFHUB_CACHE_DIR" not in os.environ
    assert not hub_download._cache_folder(ADDRESS).is_relative_to(
        Path(tempfile.gettempdir(), "tfhub_modules")
    )


@pytest.mark.parametrize("inside", ["", "saved_model.pb", "variables"])
def test_module_of_another_account_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inside: str
) -> None:
    folder = cached(monkeypatch, tmp_path)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    give_away(monkeypatch, folder / inside)
    with pytest.raises(
        ResourceError, match=rf"{folder}: .*belongs to.*rm -r {folder}\), or set TFHUB_CACHE_DIR"
    ):
        hub_download.resolve(ADDRESS)


def test_cache_that_others_may_change_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = cached(monkeypatch, tmp_path)
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    tmp_path.chmod(0o777)
    with pytest.raises(ResourceError, match=r"may be changed by other accounts.*chmod go-w.*TFHUB_CACHE_DIR"):
        hub_download.resolve(ADDRESS)
    tmp_path.chmod(0o755)
    assert hub_download.resolve(ADDRESS) == folder
    (folder / "variables").symlink_to("/dev/shm")
    with pytest.raises(ResourceError, match="its variables is no file"):
        hub_download.resolve(ADDRESS)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/net/1",
        "https://tfhub.dev.evil.example/net/1",
        "https://evil.example:443/tfhub.dev/1",
        "https://EVIL.example",
    ],
)
def test_unknown_host_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    cached(monkeypatch, tmp_path)
    hub = SimpleNamespace(resolve=lambda _: pytest.fail("asked the network"))
    monkeypatch.setattr("tledge._process.optional_imports.load", lambda *_: hub)
    with pytest.raises(RecipeError, match=r"a module is a program.*TLEDGE_HUB_HOSTS=\S*evil\.example if you"):
        hub_download.resolve(address)
    monkeypatch.setenv("TLEDGE_HUB_HOSTS", "other.example, evil.example,tfhub.dev.evil.example")
    hub.resolve = lambda _: None
    with pytest.raises(MissingError, match=r"no saved_model\.pb"):
        hub_download.resolve(address)


@pytest.mark.parametrize(
    "address",
    ["https://", "https://tfhub.dev@evil.example/1", "https://tfhub.dev\\@evil.example/", "https://a\nb/"],
)
def test_odd_address_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    cached(monkeypatch, tmp_path)
    with pytest.raises(RecipeError, match=r"no address of a module. Expected https://HOST/PATH"):
        hub_download.resolve(address)


@pytest.mark.parametrize(
    ("address", "is_followed"),
    [
        ("https://storage.googleapis.com/kaggle-models-data/x.tar.gz", True),
        ("https://www.kaggle.com/models/x", True),
        ("http://storage.googleapis.com/x.tar.gz", False),
        ("https://evil.example/x.tar.gz", False),
        ("ftp://storage.googleapis.com/x", False),
    ],
)
def test_redirects_lead_to_known_hosts(address: str, is_followed: bool) -> None:
    original = urllib.request.HTTPRedirectHandler
    with hub_download._cautious_urllib():
        handler = urllib.request.HTTPRedirectHandler()
        headers = (BytesIO(), 302, "Found", Message())
        request = urllib.request.Request(ADDRESS)
        if is_followed:
            followed = handler.redirect_request(request, *headers, address)
            assert followed is not None and followed.full_url == address
        else:
            with pytest.raises(OSError, match=rf"it leads to {address}.*TLEDGE_HUB_HOSTS"):
                handler.redirect_request(request, *headers, address)
    assert urllib.request.HTTPRedirectHandler is original
