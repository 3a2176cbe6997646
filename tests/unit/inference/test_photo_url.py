"""A photo at an address: limits of size, time and redirects, and what is said where none comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tledge.errors import DataError
from tledge.inference import photo_url
from tledge.inference.photo_url import read_url

PHOTO = bytes(range(256)) * 4


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says."""

    def do_GET(self) -> None:
        kind, _slash, rest = self.path[1:].partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
            return
        self.send_response(int(rest) if kind == "status" else 200)
        if kind != "endless":
            self.send_header("Content-Length", str(len(PHOTO) + (kind == "cut")))
        self.end_headers()
        for _ in range(1000 if kind == "endless" else 1):
            try:
                self.wfile.write(PHOTO)
            except OSError:
                return
            time.sleep(0.01 if kind == "endless" else 0)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_photo_is_read(server: str) -> None:
    assert read_url(f"{server}/photo") == PHOTO
    assert read_url(f"{server}/a photo/ä.jpg") == PHOTO


def test_redirects_are_followed_but_not_for_ever(server: str) -> None:
    assert read_url(f"{server}/to/{server}/photo") == PHOTO
    with pytest.raises(DataError, match="redirect"):
        read_url(f"{server}/to/" + "/to/" * 20 + "photo")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/photo.jpg"])
def test_redirects_lead_to_no_other_protocol(server: str, target: str) -> None:
    with pytest.raises(DataError, match=f"[Rr]edirect.* to .*{target}"):
        read_url(f"{server}/to/{target}")


def test_refusal_is_told(server: str) -> None:
    with pytest.raises(DataError, match="/status/404: the server answers 404 Not Found"):
        read_url(f"{server}/status/404")


@pytest.mark.parametrize("kind", ["photo", "endless"])
def test_large_photos_are_not_read(server: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the size is announced, nor where it is not."""
    monkeypatch.setattr(photo_url, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="too large"):
        read_url(f"{server}/{kind}")


def test_slow_photos_are_not_waited_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_url, "WHOLE", 0.05)
    with pytest.raises(DataError, match=r"takes longer than 0\.05 s"):
        read_url(f"{server}/endless")


def test_cut_photos_are_told(server: str) -> None:
    with pytest.raises(DataError, match=r"ended after 1024 of 1025 bytes|cannot be read"):
        read_url(f"{server}/cut")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x.jpg", "http://no-such-host.invalid/x.jpg"])
def test_no_connection_is_told(address: str) -> None:
    with pytest.raises(DataError, match=r"cannot be reached \(.+\)\. Check the address and the network"):
        read_url(address)


@pytest.mark.parametrize("address", ["http://[::1/x.jpg", "http://host:port/x.jpg", "http:///x.jpg"])
def test_odd_addresses_are_refused(address: str) -> None:
    with pytest.raises(DataError):
        read_url(address)
