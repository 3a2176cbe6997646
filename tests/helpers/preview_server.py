"""Requests to the preview's server, and what comes back."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def key_of(url: str) -> str:
    """The key in the fragment of a page's address, which goes to no server; "" where there is none."""
    return urlsplit(url).fragment.removeprefix("key=")


def ask(url: str, path: str = "/", body: bytes | None = None, method: str = "", **headers: str) -> Answer:
    """One request, its path sent as it is, with the key in the fragment of `url`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if key := key_of(url):
        named.setdefault("Authorization", f"Bearer {key}")
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)) as connection:
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        got = connection.getresponse()
        return Answer(got.status, got.read(), dict(got.getheaders()))


def raw(url: str, data: bytes) -> bytes:
    """What comes back for these bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as one:
        one.sendall(data)
        with contextlib.suppress(OSError):  # it has answered and gone
            one.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: one.recv(1 << 16), b""))
