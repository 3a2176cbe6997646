"""The preview's server: whom it answers, what it hands out, what it keeps, and how it ends."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.helpers import chromium
from tests.helpers.fake_device_bundle import HEIGHT, WIDTH, change_byte, photo
from tests.helpers.preview_server import ask, key_of, raw
from tledge._io import files
from tledge.bundle import preview_page
from tledge.bundle.reader import open_bundle
from tledge.errors import RunError
from tledge.preview import addresses, feedback, limits, server
from tledge.preview.handler import RequestHandler
from tledge.preview.http_server import PreviewServer
from tledge.preview.site import Site


def shown(url: str) -> str:
    """The header that shows the key, with its line end."""
    return f"Authorization: Bearer {key_of(url)}\r\n"


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
        head = f"POST /api/feedback?label=red HTTP/1.1\r\nHost: {host}\r\n{shown(url)}"
        raw.sendall(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
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
    inner = f"GET /bundle/manifest.json HTTP/1.1\r\nHost: {host}\r\n{shown(url)}\r\n"
    answer = raw(url, f"GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n\r\n{inner}".encode())
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1


def test_two_lengths_are_refused(url: str, kept: Path) -> None:
    head = f"POST /api/feedback?label=red HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{shown(url)}"
    answer = raw(url, head.encode() + b"Content-Length: 5\r\nContent-Length: 1\r\n\r\nx")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not kept.exists()


def test_ancient_request_gets_no_file(url: str) -> None:
    host = urlsplit(url).netloc
    head = f"GET /bundle/manifest.json\r\nHost: {host}\r\n{shown(url)}\r\n"
    assert b"labels" not in raw(url, head.encode())


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
        monkeypatch.setattr(limits, "TURN_SECONDS", 0.1)
        monkeypatch.setattr(limits, "MAX_BODY_BYTES", len(picture) + 1)
        answer = ask(url, "/api/feedback?label=red", picture + b"x")
        assert answer.status == 503 and "Try again" in answer.json["error"]
    shutil.rmtree(kept)


def test_owner_gets_in_beside_silent_connections(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest one that only waits makes room."""
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 2)
    told: list[str] = []
    with chromium.served(shared_bundle, tell=told.append) as url:
        port = urlsplit(url).port or 0
        with (
            socket.create_connection(("127.0.0.1", port)) as first,
            socket.create_connection(("127.0.0.1", port)),
        ):
            time.sleep(0.1)
            assert ask(url, "/bundle/manifest.json").status == 200
            assert first.recv(1) == b""
    (line,) = told
    assert line.startswith("Preview: 2 connections are open")
    assert line.endswith("the oldest of 127.0.0.1 was closed.")


def test_requests_with_the_key_are_not_cut_off(
    shared_bundle: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they have all places, a new connection is closed at once."""
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 1)
    with chromium.served(shared_bundle, feedback=kept) as url:
        head = f"POST /api/feedback?label=red HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{shown(url)}"
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as sending:
            sending.sendall(f"{head}Content-Length: 5\r\n\r\n".encode())
            time.sleep(0.2)
            with pytest.raises(OSError):
                ask(url)
            sending.sendall(b"12345")
            assert sending.recv(20).startswith(b"HTTP/1.1 422")
        time.sleep(0.2)
        assert ask(url).status == 200


def large_bundle(shared_bundle: Path, folder: Path, size: int) -> Path:
    """A bundle with a photo among its files that is larger than what the system buffers."""
    bundle = Path(shutil.copytree(shared_bundle, folder / "large"))
    (bundle / "golden" / "00.png").write_bytes(bytes(size))
    return bundle


def taken(connection: socket.socket, pause: float) -> int:
    """Read slowly to the end; return the bytes that came."""
    count = 0
    while part := connection.recv(1 << 20):
        count += len(part)
        time.sleep(pause)
    return count


def slow_connection(url: str, path: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 10)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", urlsplit(url).port or 0))
    head = f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{shown(url)}Connection: close\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_slow_client_gets_everything(
    shared_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In many times the limit of one piece, because it makes progress."""
    monkeypatch.setattr(limits, "PIECE_SECONDS", 0.5)
    size = 8 << 20
    with chromium.served(large_bundle(shared_bundle, tmp_path, size)) as url:
        began = time.monotonic()
        with slow_connection(url, "/bundle/golden/00.png") as connection:
            assert taken(connection, 0.002) > size
        assert time.monotonic() - began > 0.7


def test_client_that_stops_reading_is_told_of(
    shared_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PIECE_SECONDS", 0.2)
    told: list[str] = []
    bundle = large_bundle(shared_bundle, tmp_path, 12 << 20)
    with chromium.served(bundle, tell=told.append) as url, ExitStack() as stack:
        connections = [stack.enter_context(slow_connection(url, "/bundle/golden/00.png")) for _ in range(3)]
        time.sleep(1)
        assert all(taken(connection, 0) < 12 << 20 for connection in connections)
    (line,) = told
    assert line.startswith("Preview, client 127.0.0.1: stopped reading after ")
    assert line.endswith("KiB of /bundle/golden/00.png.")


def test_photo_may_arrive_slowly(shared_bundle: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In more than the time for a piece, and one that stops is told of."""
    monkeypatch.setattr(limits, "PIECE_SECONDS", 0.4)
    told: list[str] = []
    data = photo(0)
    step = len(data) // 16 + 1
    monkeypatch.setattr(limits, "PIECE_BYTES", 2 * step)
    with chromium.served(shared_bundle, feedback=kept, tell=told.append) as url:
        head = f"POST /api/feedback?label=red HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{shown(url)}"
        for sent, expected in ((data, b"HTTP/1.1 200"), (data[: 3 * step], b"")):
            with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as one:
                one.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode())
                for start in range(0, len(sent), step):
                    one.sendall(sent[start : start + step])
                    time.sleep(0.1)
                assert one.recv(12) == expected
    (line,) = told
    assert re.fullmatch(
        r"Preview, client 127\.0\.0\.1: stopped sending after \d KiB of /api/feedback\.", line
    )
    shutil.rmtree(kept)


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
        answer = ask(url, "/api/feedback?label=blue", photo(3), Origin=url.split("/#", maxsplit=1)[0])
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
    assert ask(url, "/api/features").json["models"] == []


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
    assert ask(url, "/bundle/manifest.json", Host=host).status == 403
    assert ask(f"{url}#key=wrong", "/bundle/manifest.json", Host=host).status == 403
    assert ask(f"{url}#key={lan.key}", "/bundle/manifest.json", Host=host).status == 200


PRIVATE = (
    "/bundle/manifest.json",
    "/bundle/nothing",
    "/api/features",
    "/api/flips",
    "/api/flips/1.png",
    "/none",
)


@pytest.mark.parametrize("path", PRIVATE)
def test_everything_but_the_page_needs_the_key(url: str, path: str) -> None:
    """Another user of this machine can connect too."""
    bare, key = url.split("#", maxsplit=1)[0], key_of(url)
    refused = [ask(bare, path), ask(bare, f"{path}?key={key}"), ask(bare, path, Cookie=f"tledge_key={key}")]
    refused += [
        ask(bare, path, Authorization=text) for text in ("", key, "Bearer", f"Basic {key}", "Bearer é")
    ]
    refused += [
        ask(f"{bare}#key={key[:-1]}", path),
        ask(f"{bare}#key={key}x", path),
        ask(bare, path, method="HEAD"),
    ]
    assert [answer.status for answer in refused] == [403] * len(refused)
    assert all(b"red" not in answer.body and "Set-Cookie" not in answer.headers for answer in refused)


def test_photo_without_the_key_is_not_kept(url: str, kept: Path) -> None:
    assert ask(url.split("#", maxsplit=1)[0], "/api/feedback?label=red", photo(0)).status == 403
    assert not kept.exists()


def test_page_is_the_same_for_everybody(url: str, kept: Path) -> None:
    index = ask(url.split("#", maxsplit=1)[0])
    assert index.status == 200 and ask(url).body == index.body
    assert key_of(url).encode() not in index.body and str(kept).encode() not in index.body
    assert ask(url.split("#", maxsplit=1)[0], "/page.js").status == 200


def test_two_keys_are_refused(url: str) -> None:
    head = f"GET /bundle/manifest.json HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{shown(url)}"
    assert raw(url, f"{head}\r\n".encode()).startswith(b"HTTP/1.1 200 ")
    assert raw(url, f"{head}Authorization: Bearer x\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")


def test_form_with_the_key_opens_the_page(url: str) -> None:
    """It comes from a file of the user's, whose origin is null."""
    bare, key = url.split("#", maxsplit=1)[0], key_of(url)
    opened = ask(bare, "/open", f"key={key}".encode(), Origin="null")
    assert opened.status == 200 and f'<meta name="tledge-key" content="{key}">'.encode() in opened.body
    assert "Set-Cookie" not in opened.headers and opened.headers["Cache-Control"] == "no-store"
    for body in (b"", b"key=", b"key=x", f"key=x&key={key}".encode(), f"key={key}x".encode(), b"\xff"):
        assert ask(bare, "/open", body).status == 403
    assert ask(bare, "/open", bytes(2000)).status == 413
    assert ask(bare, "/open", f"key={key}".encode(), Host="evil.example").status == 421
    assert ask(bare, "/open").status == 403


def test_listens_here_alone_unless_asked(url: str, shared_bundle: Path) -> None:
    with server.start(Site(open_bundle(shared_bundle))) as serving:
        assert serving.server_address[0] == "127.0.0.1" and len(serving.key) == 19
        with server.start(Site(open_bundle(shared_bundle))) as other:
            assert other.key != serving.key


def test_taken_port(shared_bundle: Path) -> None:
    """The usual one gives way to a free one; one that was asked for does not."""
    site = Site(open_bundle(shared_bundle))
    with server.start(site) as first, server.start(site) as second:
        assert first.port != second.port
        with pytest.raises(RunError, match=f"--port {second.port}: cannot be used"):
            server.start(site, port=second.port)
