"""The replies of the preview server: bodies, content types, headers and refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".json": "application/json",
    ".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".webp": "image/webp", ".bmp": "image/bmp",
}  # fmt: skip

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""Headers of every reply."""

BUNDLE_FILE_HEADERS = {"Content-Security-Policy": "sandbox; default-src 'none'"}
"""Headers of a bundle's files, which others made: none of them may run as a page of this server."""


class RequestRefused(Exception):
    """A request that is refused with an HTTP status and one sentence."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """The body of a reply, its content type and further headers."""

    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def file_reply(name: str, data: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a file's bytes with the content type that its name implies."""
    return Reply(data, CONTENT_TYPES.get(Path(name).suffix, "application/octet-stream"), headers or {})


def json_reply(value: Any) -> Reply:
    """Return a value as JSON."""
    return Reply(json.dumps(value, ensure_ascii=False).encode())


def error_reply(reason: str) -> Reply:
    """Return the reason of a failure as JSON."""
    return json_reply({"error": reason})
