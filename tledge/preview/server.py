"""The server behind `tledge preview`: hands out the page and its bundle, and asks a run's other models.

It listens on this machine alone unless told otherwise, answers only under the names it knows (a
page elsewhere could otherwise reach it by rebinding its own name), takes orders only from its own page,
and gives no file but those of the page and the bundle. With `lan` a key in the address admits.
"""

from __future__ import annotations

import hmac
import io
import json
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore, Condition, Lock
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tledge.bundle import preview_page
from tledge.bundle.manifest import Manifest
from tledge.bundle.reader import Bundle, model_bytes
from tledge.errors import ResourceError, RunError, TledgeError
from tledge.preview import feedback
from tledge.preview.panel import Panel

PORT = 8765
"""Where it listens unless that is taken."""

MAX_BODY = 32 << 20
"""Bytes that a request may bring: a large photo, not more."""

PATIENCE = 20.0
"""Seconds that a client may take for the head of its request, however it spreads it."""

SLOWEST = 256 << 10
"""Bytes a second at which a body has to come."""

BODIES = 128 << 20
"""Bytes of bodies held at a time; others wait for their turn."""

CONNECTIONS = 512
"""Open at a time; more are closed at once, for each takes a thread."""

COOKIE = "tledge_key"

TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".json": "application/json",
    ".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".webp": "image/webp", ".bmp": "image/bmp",
}  # fmt: skip

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

OF_BUNDLE = {"Content-Security-Policy": "sandbox; default-src 'none'"}
"""For files of the bundle, which others made: none of them runs anything as a page of this server."""


class Refused(Exception):
    """A request that is answered with an HTTP status and one sentence."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """What is sent: bytes and what they are."""

    body: bytes
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """What is served: a bundle, the run's models beside it, and where pictures are kept (None: nowhere)."""

    bundle: Bundle
    panel: Panel | None = None
    feedback: Path | None = None

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    def index(self) -> bytes:
        """The page, told what this server can do."""
        html = (preview_page.folder() / "index.html").read_text(encoding="utf-8")
        able = {
            "models": self.panel.names if self.panel else (),
            "flips": self.panel is not None,
            "feedback": str(self.feedback) if self.feedback else "",
        }
        told = json.dumps(able).replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;")
        return html.replace(preview_page.HEAD, f"<meta name=\"tledge-server\" content='{told}'>").encode()

    def file(self, name: str) -> bytes:
        """A file of the bundle; models only where they are what the manifest names."""
        models = {one.path: one for one in self.manifest.artifacts}
        if name in models:
            return model_bytes(self.bundle, models[name])
        return self.bundle.files.read(name)

    def answers(self, pixels: bytes) -> list[dict[str, Any]]:
        """What all models of the run say to RGB bytes of the manifest's size."""
        import numpy as np

        spec = self.manifest.input
        if self.panel is None:
            raise Refused(HTTPStatus.NOT_FOUND, "No run is previewed, only a bundle.")
        if len(pixels) != spec.height * spec.width * 3:
            wanted = f"{spec.height} x {spec.width} x 3"
            raise Refused(HTTPStatus.BAD_REQUEST, f"Expected {wanted} bytes of RGB, got {len(pixels)}.")
        image = np.frombuffer(pixels, np.uint8).reshape(spec.height, spec.width, 3)
        return [vars(one) for one in self.panel.ask(image)]


class Server(ThreadingHTTPServer):
    """Serves a site until it is shut down. `key` is what a client has to bring, "" nothing."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, site: Site, address: tuple[str, int], key: str = "") -> None:
        super().__init__(address, Handler)
        self.site = site
        self.key = key
        self.pages = {
            one.relative_to(preview_page.folder()).as_posix(): one.read_bytes() for one in _page_files()
        }
        self.members = frozenset(site.bundle.files.names())
        self.bodies = _Budget(BODIES)
        self._last_file = lru_cache(1)(site.file)
        self._reading = Lock()
        self._places = BoundedSemaphore(CONNECTIONS)

    def file(self, name: str) -> bytes:
        """A file of the bundle, one read at a time and the last one kept: many may ask for one model."""
        with self._reading:
            return self._last_file(name)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or close it where there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def hosts(self) -> frozenset[str]:
        """Names under which it answers: this machine's own, and with a key its addresses in the network."""
        names = {"127.0.0.1", "localhost"} | (set(lan_addresses()) if self.key else set())
        return frozenset(f"{name}:{self.port}" for name in names)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; anything else is an error of this server."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Budget:
    """So many bytes may be held at a time by all threads together."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._changed = Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold `size` bytes, at most all, of it; raises Refused where none become free in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= size, PATIENCE):
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Too much at a time. Try again.")
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class _Patient(io.RawIOBase):
    """Reads from a connection until a moment: who sends a byte now and then gains no time by it."""

    until = 0.0

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        """It is read from."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What has come; raises TimeoutError at the moment."""
        self._connection.settimeout(max(self.until - time.monotonic(), 1e-3))
        return self._connection.recv_into(buffer)


def _page_files() -> list[Path]:
    return [
        path
        for path in sorted(preview_page.folder().rglob("*"))
        if path.is_file() and path.name != "index.html"
    ]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "tledge"
    sys_version = ""
    timeout = PATIENCE

    def setup(self) -> None:
        """Read with patience."""
        super().setup()
        self._patient = _Patient(self.connection)
        self.rfile = io.BufferedReader(self._patient)

    def handle_one_request(self) -> None:
        """Serve one request of the connection."""
        self._patient.until = time.monotonic() + self.timeout
        super().handle_one_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request, or none that is known, as everything is answered."""
        del explain
        self._send(_told(message or HTTPStatus(code).phrase), HTTPStatus(code))

    def do_GET(self) -> None:
        """Hand out a file or an answer."""
        self._answer(self._get)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Take pixels to answer, or a picture to keep."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a person looks at the page."""
        del format, args

    def _answer(self, work: Callable[[str, Mapping[str, list[str]]], Reply]) -> None:
        try:
            parts = urlsplit(self.path)
            asked = parse_qs(parts.query)
            self._admit(asked)
            reply, status = work(unquote(parts.path), asked), HTTPStatus.OK
        except Refused as refused:
            reply, status = _told(str(refused)), refused.status
        except ResourceError as error:  # the disk is full, a folder may not be written
            reply, status = _told(str(error)), HTTPStatus.INTERNAL_SERVER_ERROR
        except TledgeError as error:
            reply, status = _told(str(error)), HTTPStatus.UNPROCESSABLE_ENTITY
        except ValueError:
            reply, status = _told("Not a request that can be read."), HTTPStatus.BAD_REQUEST
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:  # a file is gone
            reply, status = _told(f"This server could not: {error}."), HTTPStatus.INTERNAL_SERVER_ERROR
        self._send(reply, status)

    def _send(self, reply: Reply, status: HTTPStatus) -> None:
        if status != HTTPStatus.OK:
            self.close_connection = True  # its body may still be under way
        self.connection.settimeout(self.timeout)
        self.send_response(status)
        for name, value in {**HEADERS, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.type)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _admit(self, asked: Mapping[str, list[str]]) -> None:
        """Raise Refused for other hosts, for other pages' orders and without the key."""
        self._understand()
        host = self.headers.get("Host", "")
        if host not in self.server.hosts:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "This server does not answer to that name.")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise Refused(HTTPStatus.FORBIDDEN, "Only the page of this server may ask.")
        if self.server.key and not hmac.compare_digest(self._key(asked).encode(), self.server.key.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "Open the address with the key that tledge preview printed.")

    def _understand(self) -> None:
        """Raise Refused for what another program could read otherwise than this one (request smuggling)."""
        if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
            raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Expected HTTP/1.1.")
        single = [self.headers.get_all(name, []) for name in ("Host", "Content-Length", "Origin")]
        body = self.command != "POST" and self.headers.get("Content-Length", "0") != "0"
        if body or "Transfer-Encoding" in self.headers or any(len(found) > 1 for found in single):
            raise Refused(HTTPStatus.BAD_REQUEST, "Not a request that can be read in one way only.")

    def _key(self, asked: Mapping[str, list[str]]) -> str:
        if "key" in asked:
            return asked["key"][0]
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return found.value if found else ""

    def _get(self, path: str, asked: Mapping[str, list[str]]) -> Reply:
        name = path.removeprefix("/")
        if name in ("", "index.html"):
            cookie = f"{COOKIE}={self.server.key}; HttpOnly; SameSite=Strict; Path=/"
            headers = {"Set-Cookie": cookie} if self.server.key and "key" in asked else {}
            return Reply(self.server.site.index(), TYPES[".html"], headers)
        if name in self.server.pages:
            return _file(name, self.server.pages[name])
        member = name.removeprefix("bundle/")
        if member != name and member in self.server.members:
            return _file(member, self.server.file(member), OF_BUNDLE)
        return self._of_run(name)

    def _of_run(self, name: str) -> Reply:
        panel = self.server.site.panel
        if panel and name == "api/flips":
            return _told_json({"flips": panel.flips()})
        row = re.fullmatch(r"api/flips/(\d{1,9})\.png", name)
        picture = panel.flip_picture(int(row[1])) if panel and row else None
        if picture is None:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such file.")
        return Reply(picture, TYPES[".png"])

    def _post(self, path: str, asked: Mapping[str, list[str]]) -> Reply:
        length = self._length()
        with self.server.bodies.taken(length):
            return self._taken(path, asked, self._body(length))

    def _taken(self, path: str, asked: Mapping[str, list[str]], body: bytes) -> Reply:
        site = self.server.site
        if path == "/api/answers":
            return _told_json({"answers": site.answers(body)})
        if path == "/api/feedback" and site.feedback:
            label = asked.get("label", [""])[0]
            kept = feedback.keep(site.feedback, label, site.manifest.labels, body)
            return _told_json({"path": str(kept)})
        raise Refused(HTTPStatus.NOT_FOUND, "Nothing is taken here.")

    def _length(self) -> int:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Say how long the body is.")
        if int(length) > MAX_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {MAX_BODY >> 20} MiB are taken.")
        return int(length)

    def _body(self, length: int) -> bytes:
        self._patient.until = time.monotonic() + self.timeout + length / SLOWEST
        body = self.rfile.read(length)
        if len(body) != length:
            raise Refused(HTTPStatus.BAD_REQUEST, "The body ended early.")
        return body


def _file(name: str, data: bytes, headers: Mapping[str, str] = {}) -> Reply:
    return Reply(data, TYPES.get(Path(name).suffix, "application/octet-stream"), headers)


def _told_json(value: Any) -> Reply:
    return Reply(json.dumps(value, ensure_ascii=False).encode())


def _told(why: str) -> Reply:
    return _told_json({"error": why})


def lan_addresses() -> list[str]:
    """IPv4 addresses of this machine that others in its network may reach; sends nothing."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of no one (RFC 5737): a datagram socket only picks a route
            found.append(str(probe.getsockname()[0]))
        except OSError:
            pass
    return [one for one in found if not one.startswith("127.")]


def start(site: Site, *, port: int | None = None, lan: bool = False) -> Server:
    """A server that listens, on this machine alone or with a key on all its addresses.

    Without `port` it takes `PORT`, or a free one where that is taken. Raises RunError where the asked
    port cannot be had.
    """
    host, key = ("0.0.0.0", secrets.token_urlsafe(9)) if lan else ("127.0.0.1", "")
    if port is None:
        try:
            return Server(site, (host, PORT), key)
        except OSError:
            return Server(site, (host, 0), key)
    try:
        return Server(site, (host, port), key)
    except (OSError, OverflowError) as error:
        raise RunError(f"--port {port}: cannot be had ({error}). Leave it out to get a free one.") from error
