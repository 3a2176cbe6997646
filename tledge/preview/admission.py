"""Decide whether a request may be served: one reading, a known host, the page's own origin, the key.

The key is in no address, cookie or command line. Browsers keep addresses in their history and send a cookie
of one port to the servers on all other ports of the machine, and all users can list command lines. So the
page sends the key in a header, and keeps it for one tab of one host and port (`sessionStorage`).
"""

from __future__ import annotations

import hmac
import secrets
from email.message import Message
from http import HTTPStatus
from urllib.parse import parse_qs

from tledge.preview.replies import RequestRefused

SCHEME = "Bearer "
"""What stands before the key in the header `Authorization`."""

_SINGLE = ("Host", "Content-Length", "Origin", "Authorization")
"""Headers that a request has once at most."""

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Letters of a key, which people may have to copy: none that look alike."""


def new_key() -> str:
    """Return a key of 80 bits at random, in groups that can be copied by hand."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def require_unambiguous(method: str, version: str, headers: Message) -> None:
    """Raise RequestRefused for a request that a proxy could read in another way (request smuggling)."""
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise RequestRefused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Expected HTTP/1.1.")
    repeated = any(len(headers.get_all(name, [])) > 1 for name in _SINGLE)
    unexpected_body = method != "POST" and headers.get("Content-Length", "0") != "0"
    if repeated or unexpected_body or "Transfer-Encoding" in headers:
        raise RequestRefused(
            HTTPStatus.BAD_REQUEST,
            "The request is ambiguous: expected one Host, one Origin, and Content-Length for POST alone.",
        )


def require_own_host(hosts: frozenset[str], headers: Message) -> None:
    """Raise RequestRefused for a foreign host name (DNS rebinding)."""
    if headers.get("Host", "") not in hosts:
        raise RequestRefused(HTTPStatus.MISDIRECTED_REQUEST, "This server has another host name.")


def require_own_page(headers: Message) -> None:
    """Raise RequestRefused for requests of other pages."""
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{headers.get('Host', '')}":
        raise RequestRefused(HTTPStatus.FORBIDDEN, "Only the page of this server may send requests.")


def require_key(key: str, headers: Message) -> None:
    """Raise RequestRefused where the header `Authorization` does not hold `key`."""
    sent = headers.get("Authorization", "")
    _require_equal(sent.removeprefix(SCHEME) if sent.startswith(SCHEME) else "", key)


def require_key_in_form(key: str, body: bytes) -> None:
    """Raise RequestRefused where the form that a request sends has no field `key` that holds `key`."""
    fields = parse_qs(body.decode("ascii", "replace"))
    _require_equal(fields.get("key", [""])[0], key)


def _require_equal(sent: str, key: str) -> None:
    if not key or not hmac.compare_digest(sent.encode("utf-8", "replace"), key.encode()):
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, "Wrong key. Enter the key that tledge preview printed in the terminal."
        )
