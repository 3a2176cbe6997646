"""The preview's server: whom it answers, what it hands out, what it keeps, and how it ends."""

from __future__ import annotations

import http.client
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.helpers import chromium
from tests.helpers.fake_device_bundle import HEIGHT, WIDTH, change_byte, photo
from tests.helpers.preview_server import ask, raw
from tledge._io import files
from tledge.bundle import preview_page
from tledge.bundle.reader import open_bundle
from tledge.errors import RunError
from tledge.preview import addresses, feedback, limits, server
from tledge.preview.handler import RequestHandler
from tledge.preview.http_server import PreviewServer
from tledge.preview.site import Site


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "feedback"


@pytest.fixture(scope="module")
def url(shared_bundle: Path, kept: Path) -> Iterator[str]:
    with chromium.served(shared_bundle, feedback=kept) as address:
        yield address


def test_page_and_bundle_are_handed_out(url: str, shared_bundle: Path) -> None:
    index = ask(url)
    assert index.status == 200 and b'name="tledge-server"' in index.body
    assert ask(url, "/page.js").body == (preview_page.folder() / "page.js").read_bytes()
    assert ask(url, "/litert/litert.wasm.gz").headers["Content-Type"] == "application/octet-stream"
    for name in ("manifest.json", "tflite-int8.tflite", "golden/00.png"):
        assert ask(url, f"/bundle/{name}").body == (shared_bundle / name).read_bytes()


def test_zip_is_served_without_unpacking(shared_bundle: Path, tmp_path: Path) -> None:
    files.canonical_zip(shared_bundle, tmp_path / "bundle.zip")
    with chromium.served(tmp_path / "bundle.zip") as url:
        assert ask(url, "/bundle/manifest.json").body == (shared_bundle / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/bundle/../manifest.json", "/bundle/%2e%2e/%2e%2e/etc/passwd", "/../../etc/passwd", "//etc/passwd",
        "/bundle//etc/passwd", "/bundle/..%2f..%2fsecret", "/bundle/golden", "/bundle/golden/",
        "/litert/../README.md/..", "/bundle/%00", "/bundle/\\..\\x", "/api/flips", "/api/flips/1.png",
        "/api/flips/-1.png", "/server.py", "/bundle",
    ],
)  # fmt: skip
def test_nothing_else_is(url: str, path: str) -> None:
    assert ask(url, path).status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1", "", "localhost:1"])
def test_other_names_are_refused(url: str, host: str) -> None:
    """A page elsewhere may point its own name at this machine (DNS rebinding)."""
    answer = ask(url, Host=host)
    assert answer.status == 421 and b"red" not in answer.body


def test_own_names_are_answered(url: str) -> None:
    port = urlsplit(url).port
    assert [ask(url, Host=f"{name}:{port}").status for name in ("127.0.0.1", "localhost")] == [200, 200]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1"])
def test_orders_of_other_pages_are_refused(url: str, kept: Path, origin: str) -> None:
    answer = ask(url, "/api/feedback?label=red", photo(0), Origin=origin)
    assert answer.status == 403 and not kept.exists()


def test_every_answer_guards_the_page(url: str) -> None:
    for path in ("/", "/bundle/manifest.json", "/nothing"):
        headers = ask(url, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Python" not in headers["Server"]


def test_changed_model_is_not_handed_out(shared_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shared_bundle, tmp_path / "other"))
    change_byte(bundle / "tflite-int8.tflite")
    with chromium.served(bundle) as url:
        answer = ask(url, "/bundle/tflite-int8.tflite")
        assert answer.status == 422 and "changed or damaged" in answer.json["error"]
        assert ask(url, "/bundle/tflite-fp32.tflite").status == 200


def test_large_body_is_refused_unread(url: str) -> None:
    """Before a byte of it was sent."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as raw:
        host = urlsplit(url).netloc
        head = f"POST /api/feedback?label=red HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999\r\n\r\n"
        raw.sendall(head.encode())
        assert b" 413 " in raw.recv(100)


def test_length_must_be_told(url: str) -> None:
    assert ask(url, "/api/feedback?label=red", method="POST", Content_Length="-5").status == 411


def test_slow_request_is_dropped(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestHandler, "timeout", 0.3)
    with chromium.served(shared_bundle) as url:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHo")
            assert raw.recv(100) == b""
        assert ask(url).status == 200


def test_dripping_request_is_dropped(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then gains no time."""
    monkeypatch.setattr(RequestHandler, "timeout", 0.4)
    with chromium.served(shared_bundle) as url:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as one:
            one.settimeout(0.1)
            one.sendall(b"GET / HTTP/1.1\r\nX: ")
            began, closed = time.monotonic(), False
            while not closed and time.monotonic() - began < 5:
                try:
                    one.sendall(b"y")
                    closed = one.recv(1) == b""
                except TimeoutError:
                    continue
                except OSError:
                    closed = True
        assert closed and time.monotonic() - began < 3


@pytest.mark.parametrize(
    "lines",
    ["Content-Length: 30", "Transfer-Encoding: chunked", "Host: other", "Origin: a\r\nOrigin: b"],
)
def test_request_is_read_in_one_way(url: str, lines: str) -> None:
    """What another program would read as two requests is answered as none (smuggling)."""
    host = urlsplit(url).netloc
    inner = f"GET /bundle/manifest.json HTTP/1.1\r\nHost: {host}\r\n\r\n"
    answer = raw(url, f"GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n\r\n{inner}".encode())
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1


def test_two_lengths_are_refused(url: str, kept: Path) -> None:
    head = f"POST /api/feedback?label=red HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
    answer = raw(url, head.encode() + b"Content-Length: 5\r\nContent-Length: 1\r\n\r\nx")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not kept.exists()


def test_ancient_request_gets_no_file(url: str) -> None:
    host = urlsplit(url).netloc.encode()
    assert b"labels" not in raw(url, b"GET /bundle/manifest.json\r\nHost: " + host + b"\r\n\r\n")


def test_unknown_method_is_answered_as_all(url: str) -> None:
    answer = ask(url, method="PUT")
    assert answer.status == 501 and answer.json["error"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_file_of_the_bundle_is_no_page(url: str) -> None:
    """A bundle may come from anyone: its files run nothing under this server's name."""
    assert "sandbox" in ask(url, "/bundle/README.md").headers["Content-Security-Policy"]
    assert "Content-Security-Policy" not in ask(url, "/page.js").headers


def test_bodies_wait_for_their_turn(shared_bundle: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photo(0)
    monkeypatch.setattr(limits, "MAX_HELD_BYTES", len(picture))
    with chromium.served(shared_bundle, feedback=kept) as url:
        with ThreadPoolExecutor(20) as pool:
            asked = pool.map(lambda _n: ask(url, "/api/feedback?label=red", picture).status, range(20))
        assert set(asked) == {200}
        monkeypatch.setattr(limits, "HEADER_SECONDS", 0.1)
        monkeypatch.setattr(limits, "MAX_BODY_BYTES", len(picture) + 1)
        answer = ask(url, "/api/feedback?label=red", picture + b"x")
        assert answer.status == 503 and "Try again" in answer.json["error"]
    shutil.rmtree(kept)


def test_too_many_connections_are_closed(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 2)
    with chromium.served(shared_bundle) as url:
        port = urlsplit(url).port or 0
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            time.sleep(0.2)
            with pytest.raises(OSError):
                ask(url)
        time.sleep(0.2)
        assert ask(url).status == 200


def test_full_folder_keeps_no_more(url: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(url, "/api/feedback?label=red", photo(0)).status == 200
    monkeypatch.setattr(feedback, "MAX_FOLDER_BYTES", len(photo(0)) + 10)
    answer = ask(url, "/api/feedback?label=red", photo(3))
    assert answer.status == 422 and "full" in answer.json["error"]
    assert len([path for path in kept.rglob("*") if path.is_file()]) == 1
    shutil.rmtree(kept)


def test_folder_that_cannot_be_written_is_named(url: str, kept: Path) -> None:
    kept.mkdir()
    (kept / "red").write_bytes(b"")
    answer = ask(url, "/api/feedback?label=red", photo(0))
    assert answer.status == 500 and "red" in answer.json["error"]
    shutil.rmtree(kept)


def test_own_errors_are_told(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that goes away is no news; an error of the server's own is."""

    def broken(_site: Site) -> bytes:
        raise KeyError("planted")

    monkeypatch.setattr(Site, "index", broken)
    with chromium.served(shared_bundle) as url:
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(url)
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as gone:
            gone.sendall(b"GET /page.js HTTP/1.1\r\n")
    assert capfd.readouterr().err.count("KeyError: 'planted'") == 1


def test_header_injection_gets_nowhere(url: str) -> None:
    answer = ask(url, "/bundle/x%0d%0aSet-Cookie:%20a=b")
    assert answer.status == 404 and "Set-Cookie" not in answer.headers


def test_many_at_once(url: str, shared_bundle: Path) -> None:
    wanted = (shared_bundle / "manifest.json").read_bytes()
    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(lambda _number: ask(url, "/bundle/manifest.json").body, range(200)))
    assert all(one == wanted for one in found)


def test_picture_is_kept_with_its_label(url: str, kept: Path) -> None:
    for _twice in range(2):
        answer = ask(url, "/api/feedback?label=blue", photo(3), Origin=url.rstrip("/"))
        assert answer.status == 200
    (only,) = [path for path in kept.rglob("*") if path.is_file()]
    assert answer.json["path"] == str(only) and only.parent == kept / "blue"
    assert only.read_bytes() == photo(3)
    shutil.rmtree(kept)


@pytest.mark.parametrize(
    ("label", "data"), [("purple", photo(0)), ("../red", photo(0)), ("red", b"<svg/>"), ("", photo(0))]
)
def test_nothing_else_is_kept(url: str, kept: Path, label: str, data: bytes) -> None:
    answer = ask(url, f"/api/feedback?label={label}", data)
    assert answer.status == 422 and answer.json["error"]
    assert not kept.exists()


def test_nothing_is_kept_unless_asked_for(shared_bundle: Path) -> None:
    with chromium.served(shared_bundle) as url:
        assert ask(url, "/api/feedback?label=red", photo(0)).status == 404


def test_bundle_alone_has_no_other_models(url: str) -> None:
    assert ask(url, "/api/answers", bytes(HEIGHT * WIDTH * 3)).status == 404
    assert b'"models": []' in ask(url).body


@pytest.fixture
def lan(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PreviewServer]:
    """A server for phones; this machine's address in its network is made up."""
    from threading import Thread

    monkeypatch.setattr(addresses, "lan_addresses", lambda: ["192.0.2.7"])
    with server.start(Site(open_bundle(shared_bundle)), lan=True) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_phones_need_the_key(lan: PreviewServer) -> None:
    url, host = f"http://127.0.0.1:{lan.port}", f"192.0.2.7:{lan.port}"
    assert ask(url, Host=host).status == 403
    assert ask(url, "/?key=wrong", Host=host).status == 403
    first = ask(url, f"/?key={lan.key}", Host=host)
    assert first.status == 200 and "HttpOnly" in first.headers["Set-Cookie"]
    cookie = first.headers["Set-Cookie"].split(";")[0]
    assert ask(url, "/bundle/manifest.json", Host=host, Cookie=cookie).status == 200
    assert ask(url, "/bundle/manifest.json", Host=host, Cookie="tledge_key=no").status == 403


def test_listens_here_alone_unless_asked(url: str, shared_bundle: Path) -> None:
    with server.start(Site(open_bundle(shared_bundle))) as serving:
        assert serving.server_address[0] == "127.0.0.1" and not serving.key


def test_taken_port(shared_bundle: Path) -> None:
    """The usual one gives way to a free one; one that was asked for does not."""
    site = Site(open_bundle(shared_bundle))
    with server.start(site) as first, server.start(site) as second:
        assert first.port != second.port
        with pytest.raises(RunError, match=f"--port {second.port}: cannot be used"):
            server.start(site, port=second.port)
