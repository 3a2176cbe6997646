"""Handle the requests of one connection: page and bundle files, predictions, feedback photos."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tledge._io.encoding import printable
from tledge._process.byte_budget import BudgetExhausted
from tledge.errors import ResourceError, TledgeError
from tledge.preview import admission, feedback, limits
from tledge.preview.http_server import PreviewServer
from tledge.preview.limits import DeadlineReader
from tledge.preview.replies import (
    BUNDLE_FILE_HEADERS,
    CONTENT_TYPES,
    SECURITY_HEADERS,
    Reply,
    RequestRefused,
    error_reply,
    file_reply,
    json_reply,
)

Query = Mapping[str, list[str]]

OPEN = "/open"
"""The address to which a form sends the key: the page that the command opens in the browser."""


class RequestHandler(BaseHTTPRequestHandler):
    """Serve one connection."""

    server: PreviewServer
    protocol_version = "HTTP/1.1"
    server_version = "tledge"
    sys_version = ""
    timeout = limits.HEADER_SECONDS

    def setup(self) -> None:
        """Read the connection with a deadline."""
        super().setup()
        self._reader = DeadlineReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """Serve one request of the connection."""
        self.server.connections.wait_for_request(self.connection)
        self._reader.begin_request(self.timeout)
        super().handle_one_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Reply to a malformed request or an unknown method in the form of all other replies."""
        del explain
        self._send(error_reply(message or HTTPStatus(code).phrase), HTTPStatus(code))

    def do_GET(self) -> None:
        """Reply with a file or JSON."""
        self._reply(self._get)

    def do_HEAD(self) -> None:
        """Reply as to GET, without the body."""
        self._reply(self._get)

    def do_POST(self) -> None:
        """Predict the pixels that were sent, or keep a feedback photo."""
        self._reply(self._post)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the user looks at the page."""
        del format, args

    def _reply(self, serve: Callable[[str, Query], Reply]) -> None:
        """Send what `serve` returns, or its failure with the status that fits."""
        with ExitStack() as self._held:
            try:
                self._send(*self._result(serve))
            except limits.NoProgress as error:
                self._notify(
                    "progress", f"stopped {error.doing} after {error.done >> 10} KiB of {self._place}"
                )
                raise

    def _result(self, serve: Callable[[str, Query], Reply]) -> tuple[Reply, HTTPStatus]:
        try:
            return self._admitted(serve), HTTPStatus.OK
        except RequestRefused as refused:
            return error_reply(str(refused)), refused.status
        except ResourceError as error:  # the disk is full, or a folder is read-only
            return error_reply(str(error)), HTTPStatus.INTERNAL_SERVER_ERROR
        except TledgeError as error:
            return error_reply(str(error)), HTTPStatus.UNPROCESSABLE_ENTITY
        except ValueError:
            return error_reply("The request cannot be parsed."), HTTPStatus.BAD_REQUEST
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:  # a file is gone
            return error_reply(f"The server failed: {error}."), HTTPStatus.INTERNAL_SERVER_ERROR

    def _admitted(self, serve: Callable[[str, Query], Reply]) -> Reply:
        """Serve the request if it may be; raises RequestRefused."""
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        admission.require_unambiguous(self.command, self.request_version, self.headers)
        admission.require_own_host(self.server.hosts, self.headers)
        try:
            if self.command == "POST" and path == OPEN:
                return self._open()
            admission.require_own_page(self.headers)
            if self.command == "POST" or not self._is_page(path):
                admission.require_key(self.server.key, self.headers)
                self.server.connections.serve(self.connection)
        except RequestRefused:
            self._notify("refused", "a request of another page, or without the right key, was refused")
            raise
        return serve(path, parse_qs(parts.query))

    def _is_page(self, path: str) -> bool:
        """Tell whether a path is that of the page itself: part of tledge, and the same for everybody."""
        name = path.removeprefix("/")
        return name in ("", "index.html") or name in self.server.page_files

    def _open(self) -> Reply:
        """Return the page with the key for a form that sends the key; it comes from a file, not a page."""
        if self._content_length() > limits.MAX_KEY_BYTES:
            raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Expected a form with the key alone.")
        admission.require_key_in_form(self.server.key, self._read_body(self._content_length()))
        return Reply(self.server.site.index(self.server.key), CONTENT_TYPES[".html"])

    def _notify(self, kind: str, text: str) -> None:
        self.server.notices.add(kind, f"Preview, client {self.client_address[0]}: {text}.")

    @property
    def _place(self) -> str:
        """The path of the request in letters that a terminal shows."""
        return printable(unquote(urlsplit(self.path).path))[:100]

    def _send(self, reply: Reply, status: HTTPStatus) -> None:
        if status != HTTPStatus.OK:
            self.close_connection = True  # the client may still be sending its body
        self.connection.settimeout(self.timeout)
        self.send_response(status)
        for name, value in {**SECURITY_HEADERS, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            limits.send_body(self.connection, reply.body)

    def _get(self, path: str, _query: Query) -> Reply:
        name = path.removeprefix("/")
        if name in ("", "index.html"):
            return Reply(self.server.site.index(), CONTENT_TYPES[".html"])
        if name in self.server.page_files:
            return file_reply(name, self.server.page_files[name])
        member = name.removeprefix("bundle/")
        if member != name and member in self.server.bundle_names:
            data = self._held.enter_context(self.server.bundle_files.hold(member))
            return file_reply(member, data, BUNDLE_FILE_HEADERS)
        if name == "api/features":
            return json_reply(self.server.site.features())
        return self._get_flips(name)

    def _get_flips(self, name: str) -> Reply:
        """Reply with the list of flips of the run, or with the image of one of them."""
        panel = self.server.site.panel
        if panel and name == "api/flips":
            return json_reply({"flips": panel.flips()})
        row = re.fullmatch(r"api/flips/(\d{1,9})\.png", name)
        png = panel.flip_image(int(row[1])) if panel and row else None
        if png is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "There is no such file.")
        return Reply(png, CONTENT_TYPES[".png"])

    def _post(self, path: str, query: Query) -> Reply:
        """Read the body within the memory that all requests share, then serve it."""
        length = self._content_length()
        try:
            with self.server.held_bytes.reserve(length, limits.TURN_SECONDS):
                return self._serve_body(path, query, self._read_body(length))
        except BudgetExhausted:
            raise RequestRefused(
                HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests at a time. Try again."
            ) from None

    def _serve_body(self, path: str, query: Query, body: bytes) -> Reply:
        site = self.server.site
        if path == "/api/answers":
            return json_reply({"answers": site.predictions(body)})
        if path == "/api/feedback" and site.feedback:
            label = query.get("label", [""])[0]
            saved = feedback.keep(
                site.feedback, label, site.manifest.labels, body, chosen=site.feedback_is_chosen
            )
            return json_reply({"path": str(saved)})
        raise RequestRefused(HTTPStatus.NOT_FOUND, "Nothing can be sent to this address.")

    def _content_length(self) -> int:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length):
            raise RequestRefused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing or no number.")
        if int(length) > limits.MAX_BODY_BYTES:
            raise RequestRefused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body is too large: at most {limits.MAX_BODY_BYTES >> 20} MiB.",
            )
        return int(length)

    def _read_body(self, length: int) -> bytes:
        body = limits.read_body(self._reader, self.rfile.read, length)
        if len(body) != length:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "The body ended early.")
        return body
